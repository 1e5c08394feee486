"""What trtexec leaves behind, in the shape of each version."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

Leave = Callable[..., Path]

STATED = """\
[11/02/2026-10:00:00] [I] === Inference Options ===
[11/02/2026-10:00:00] [I] Batch: Explicit
[11/02/2026-10:00:00] [I] Input inference shape : input={batch}x3x32x32
[11/02/2026-10:00:00] [I] Iterations: 1000
[11/02/2026-10:00:00] [I] Duration: 10s (+ 500ms warm up)
[11/02/2026-10:00:00] [I] Data transfers: {transfers}
[11/02/2026-10:00:00] [I] Spin-wait: {spin}
[11/02/2026-10:00:00] [I] CUDA Graph: {graph}
"""
LOG = """\
&&&& RUNNING TensorRT.trtexec [TensorRT v{packed}] [b17] # /usr/src/tensorrt/bin/trtexec {words}
[11/02/2026-10:00:00] [I] === Model Options ===
[11/02/2026-10:00:00] [I] Format: ONNX
{stated}[11/02/2026-10:00:00] [I] === Device Information ===
[11/02/2026-10:00:00] [I] Selected Device: Orin
[11/02/2026-10:00:00] [I] Compute Capability: 8.7
{version}[11/02/2026-10:00:01] [W] [TRT] a warning of the builder
[11/02/2026-10:00:20] [I] === Performance summary ===
[11/02/2026-10:00:20] [I] Throughput: {qps} qps
[11/02/2026-10:00:20] [I] Latency: min = 1.5 ms, max = 9.25 ms, mean = 2.125 ms, median = 2 ms, \
percentile(50%) = 2 ms, percentile(90%) = 2.5 ms, percentile(95%) = 2.75 ms, \
percentile(99%) = 4.5 ms
[11/02/2026-10:00:20] [I] Enqueue Time: min = 0.1 ms, max = 0.2 ms, mean = 0.15 ms, median = 0.1 ms
[11/02/2026-10:00:20] [I] GPU Compute Time: min = 1 ms, max = 8 ms, mean = 1.5 ms, median = 1.4 ms
[11/02/2026-10:00:20] [I] Total Host Walltime: 10.01 s
{unstable}[11/02/2026-10:00:20] [V] Latency: the sum of H2D Latency, GPU Compute and D2H.
&&&& {ending} TensorRT.trtexec [TensorRT v{packed}] [b17] # /usr/src/tensorrt/bin/trtexec {words}
"""


def log(packed: str = "100300", words: str = "--onnx=model.onnx --useSpinWait", **more: Any) -> str:
    """What trtexec prints; `more` as the fields of LOG and STATED."""
    stated = {"transfers": "Disabled", "spin": "Enabled", "graph": "Enabled", "batch": 1, **more}
    fields = {"qps": "480.5", "ending": "PASSED", "unstable": "", "version": "", **more}
    own = STATED.format(**stated) if more.get("states", True) else ""
    return LOG.format(**{**fields, "packed": packed, "words": words, "stated": own})


def times(count: int = 1200) -> list[dict[str, float]]:
    """--exportTimes: every entry has the same fields in every version."""
    compute = np.random.default_rng(0).gamma(200, 0.01, count)
    return [
        {
            "startEnqMs": 3.0 * i, "endEnqMs": 3.0 * i + 0.1,
            "startH2dMs": 3.0 * i, "endH2dMs": 3.0 * i + 0.25,
            "startComputeMs": 3.0 * i + 0.25, "endComputeMs": 3.0 * i + 0.25 + ms,
            "startD2hMs": 3.0 * i + 0.25 + ms, "endD2hMs": 3.0 * i + 0.5 + ms,
            "h2dMs": 0.25, "computeMs": ms, "d2hMs": 0.25, "latencyMs": 0.5 + ms,
        }
        for i, ms in enumerate(compute.tolist())
    ]  # fmt: skip


def profile() -> list[dict[str, Any]]:
    """--exportProfile: a count, then a layer an entry."""
    rows = [("conv1 + relu1", 1.5), ("fc", 0.5)]
    return [
        {"count": 500},
        *(
            {"name": name, "timeMs": 500 * ms, "averageMs": ms, "medianMs": ms, "percentage": 50}
            for name, ms in rows
        ),
    ]


def layers(new: bool) -> dict[str, Any]:
    """--exportLayerInfo of 11, or of the versions before."""
    kind = {"Format": "LINEAR", "DataType": "INT8"} if new else {"Format/Datatype": "Row Int8"}
    ports = {"I/O Tensors": [{"Name": "input"}]} if new else {"Bindings": ["input"]}
    told = [
        {"Name": name, "LayerType": "CaskConvolution", "Inputs": [{"Name": "a", **kind}]}
        for name in ("conv1 + relu1", "fc")
    ]
    return {"Layers": told, **ports}


@pytest.fixture
def leave(tmp_path: Path) -> Leave:
    """Writes a run's folder; a file that is None is left out, and text is written as it is."""

    def leave(name: str = "run", **files: Any) -> Path:
        found = {"times": times(), "profile": profile(), "layers": layers(False), "log": log()}
        folder = tmp_path / name
        folder.mkdir()
        for kind, content in {**found, **files}.items():
            if content is not None:
                text = content if isinstance(content, str) else json.dumps(content)
                suffix = "log" if kind == "log" else "json"
                (folder / f"{kind}.{suffix}").write_text(text, encoding="utf-8")
        return folder

    return leave


@pytest.fixture
def print_log() -> Callable[..., str]:
    """What trtexec prints."""
    return log


@pytest.fixture
def tell_layers() -> Callable[[bool], dict[str, Any]]:
    """What trtexec tells of the layers: of 11, or before."""
    return layers
