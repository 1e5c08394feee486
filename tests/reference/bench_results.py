"""Results as `cake-edge bench --out` writes them, made of known samples."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from exporters.latency.harness import LatencyResult
from exporters.latency.statistics import Samples

__all__ = ["bench_result", "bench_row", "calls", "environment", "save"]


def calls(center: float, *, rounds: int = 200, spread: float = 0.01, seed: int = 0) -> Samples:
    """[rounds, 5] milliseconds around a center, none of them far from it."""
    random = np.random.default_rng(seed)
    return np.asarray(center * (1 + spread * np.abs(random.normal(size=(rounds, 5)))))


def bench_row(samples: Samples | None, **more: Any) -> dict[str, Any]:
    """One model; without samples it was not timed."""
    latency = None
    if samples is not None:
        latency = LatencyResult(
            samples_ms=samples, batch=1, first_ms=9.0, warmup_mean_ms=2.0, throughput=900.0
        ).to_dict()
    return {
        "role": "student",
        "precision": "fp32",
        "target": "any",
        "architecture": "tiny",
        "path": "runs/student.onnx",
        "bytes": 1000,
        "parameters": 100,
        "top1": None,
        "agreement": None,
        "latency_ms": latency,
        "n": None,
        "sha256": "0" * 64,
        "speedup": None,
        "foreign": None,
        **({} if samples is None else {"samples_ms": samples.tolist()}),
        **more,
    }


def environment(**more: Any) -> dict[str, Any]:
    """A quiet machine."""
    return {
        "versions": {"python": "3.11.9"},
        "system": "Linux",
        "machine": "x86_64",
        "processor": "Example CPU",
        "cpu_flags": ["avx2"],
        "cores": 4,
        "threads": 1,
        "governor": "performance",
        "clock": "one call",
        "load_before": 0.1,
        "load_after": 0.5,
        "warnings": [],
        "runtime": {
            "runtime": "ort",
            "version": "1.20.0",
            "providers": ["CPUExecutionProvider"],
            "options": {"optimise": True},
        },
        **more,
    }


def bench_result(*rows: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A whole result."""
    return {
        "schema_version": 1,
        "models": list(rows),
        "environment": environment(),
        **more,
    }


def save(path: Path, result: dict[str, Any]) -> Path:
    """Writes a result; returns its path."""
    path.write_text(json.dumps(result), encoding="utf-8")
    return path
