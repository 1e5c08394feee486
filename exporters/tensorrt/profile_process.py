"""The child of `layer_profile`: opens an engine and lets TensorRT time its layers.

Run as `python -m exporters.tensorrt.profile_process ANSWER`, the request as JSON on stdin.
"""

from __future__ import annotations

import importlib
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

from cake_edge.errors import CakeEdgeError
from exporters.tensorrt.child import answer_with
from exporters.tensorrt.layers import Layer, layers_from_inspector, summarise_layers
from exporters.tensorrt.manifest import read_manifest
from exporters.tensorrt.running import RunningEngine

__all__ = ["answer", "main", "profile"]

WARM_UP = 5


def main() -> None:
    """Answers one request."""
    answer_with(answer)


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """Times the layers of one engine; returns them as plain values."""
    try:
        library = importlib.import_module(request["module"])
    except (ImportError, OSError) as error:
        return {"stage": "import", "messages": [str(error)]}
    path = Path(request["engine"])
    try:
        running = RunningEngine(path, library, read_manifest(path))
        try:
            return {"stage": "run", "profile": profile(running, library, request["runs"])}
        finally:
            running.close()
    except CakeEdgeError as error:
        return {"stage": "refused", "messages": [str(error)]}


def profile(running: RunningEngine, library: Any, runs: int) -> dict[str, Any]:
    """Times the layers of an open engine; the result is `profile_layers`'."""
    shape = running.bounds[1]
    running.reshape(shape)
    images = np.random.default_rng(0).standard_normal(shape, dtype=np.float32)
    clock = _layer_clock(library)
    running.load(images)
    for _ in range(WARM_UP):
        running.enqueue()
    running.wait()
    running.context.profiler = clock
    for _ in range(runs):
        running.enqueue()
        running.wait()
    means = {name: sum(times) / runs for name, times in clock.times.items()}
    layers = {layer.name: layer for layer in layers_from_inspector(running.inspect())}
    total = sum(means.values())
    rows = [_row(name, ms, total, layers.get(name)) for name, ms in means.items()]
    moved = sum(row["ms"] for row in rows if row["reformats"])
    return {
        "runs": runs,
        "shape": list(shape),
        "layers": rows,
        "summary": {
            **summarise_layers(tuple(layers.values())),
            "reformat_share": moved / total if total else 0.0,
        },
    }


def _row(name: str, ms: float, total: float, layer: Layer | None) -> dict[str, Any]:
    if layer is None:  # The profiler names some layers that the inspector does not.
        layer = Layer(name=name, kind="", taken=(), given=(), nodes=())
    return {
        "name": name,
        "kind": layer.kind,
        "precision": layer.precision,
        "reformats": layer.reformats,
        "nodes": list(layer.nodes),
        "ms": ms,
        "share": ms / total if total else 0.0,
    }


def _layer_clock(library: Any) -> Any:
    """A profiler that keeps every time; made here, as its base class is the library's."""

    class LayerClock(library.IProfiler):  # type: ignore[misc]
        def __init__(self) -> None:
            library.IProfiler.__init__(self)
            self.times: dict[str, list[float]] = defaultdict(list)

        def report_layer_time(self, layer_name: str, ms: float) -> None:
            self.times[layer_name].append(ms)

    return LayerClock()


if __name__ == "__main__":
    main()
