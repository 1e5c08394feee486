"""The child of `compiler` and `build`: loads NVIDIA's library, makes one engine, says what it said.

Run as `python -m exporters.tensorrt.compile_process ANSWER`, the request as JSON on stdin.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

from cake_edge.errors import UsageMistake
from exporters.tensorrt.builder import Built, build
from exporters.tensorrt.child import answer_with
from exporters.tensorrt.config import EngineConfig

__all__ = ["answer", "main"]

Reply = dict[str, Any]


def main() -> None:
    """Answers one request."""
    answer_with(answer)


def answer(request: dict[str, Any]) -> Reply:
    """Makes one engine; returns what became of it as plain values."""
    try:
        library = importlib.import_module(request["module"])
    except (ImportError, OSError) as error:
        return {"stage": "import", "messages": [str(error)]}
    timing = request.get("timing_cache")
    try:
        built = build(
            library,
            request["path"],
            _config(request["config"]),
            timing_cache=_read(timing),
            inspect=request.get("inspect", False),
        )
    except UsageMistake as error:
        return {"stage": "usage", "messages": [str(error)]}
    if built.engine is not None and request.get("engine"):
        Path(request["engine"]).write_bytes(built.engine)
    if built.timing_cache is not None:
        Path(request["new_timing_cache"]).write_bytes(built.timing_cache)
    return _reply(built, library.__version__)


def _config(values: dict[str, Any]) -> EngineConfig:
    """Reads `EngineConfig.to_dict`; the timing cache has a place of its own in a request."""
    sizes = values["sizes"]
    return EngineConfig(
        **{
            **values,
            "batches": tuple(values["batches"]),
            "sizes": None if sizes is None else tuple(map(tuple, sizes)),
            "timing_cache": None,
        }
    )


def _read(name: str | None) -> bytes | None:
    if name is None:
        return None
    try:
        return Path(name).read_bytes()
    except FileNotFoundError:
        return b""


def _reply(built: Built, version: str) -> Reply:
    return {
        "ok": built.engine is not None,
        "stage": built.stage,
        "messages": built.messages,
        "warnings": built.warnings,
        "engine_bytes": 0 if built.engine is None else built.engine.nbytes,
        "version": version,
        "compute_capability": built.compute_capability,
        "coverage": built.coverage,
        "typing": built.typing,
        "profile": built.profile,
        "layers": built.layers,
    }


if __name__ == "__main__":
    main()
