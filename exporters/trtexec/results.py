"""What trtexec measured, as rows of our own latency result.

A run leaves up to four files, told apart by what is in them: --exportTimes, --exportProfile,
--exportLayerInfo and what it printed. Without the times there are its own percentiles, and no
samples. trtexec's latency is time on the GPU by CUDA's events: the copies, where they are in, and
the network; neither the call of the host nor the wait between two calls.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from cake_edge.errors import ArtifactError, UsageMistake
from exporters.latency import statistics
from exporters.tensorrt.layers import layers_from_inspector, summarise_layers
from exporters.trtexec.log import Log, read_log

__all__ = ["rows_from_trtexec"]

SCHEMA = 1
STEPS = ("h2dMs", "computeMs", "d2hMs")
UNSTATED = (
    "time on the GPU by CUDA events, as trtexec counts it; whether copies are in it is not stated: "
    "keep what trtexec printed beside its exports"
)


@dataclass(slots=True, kw_only=True)
class _Run:
    """The files of one run, as far as there are any."""

    name: str
    times: Sequence[Mapping[str, Any]] | None = None
    profile: Sequence[Mapping[str, Any]] | None = None
    layers: Mapping[str, Any] | None = None
    log: Log | None = None
    files: dict[str, Path] = field(default_factory=dict)


def rows_from_trtexec(paths: Sequence[Path]) -> dict[str, Any]:
    """Reads runs of trtexec into what `cake-edge bench --out` writes.

    Args:
        paths: folders, each a run; and files, which together are one run.

    Returns:
        `schema_version`; `models`: a row a run, with `latency_ms` (milliseconds), `samples_ms`
        ([calls, 1], or None where it kept none), `clock` (what is inside it) and `trtexec`
        (steps, layers, throughput, command); `environment` with `runtime` and `warnings`.

    Raises:
        UsageMistake: nothing is given.
        ArtifactError: a file is missing, damaged or not trtexec's; a kind is there twice; the run
            failed; or it holds no latencies.
    """
    if not paths:
        raise UsageMistake("no output of trtexec is given; name a folder, or its files")
    runs = [_gathered(path.name, sorted(path.iterdir())) for path in paths if path.is_dir()]
    loose = [path for path in paths if not path.is_dir()]
    if loose:
        runs.append(_gathered(loose[0].parent.absolute().name, loose))
    rows = [_row(run) for run in runs]
    logs = [run.log for run in runs if run.log is not None]
    return {
        "schema_version": SCHEMA,
        "models": rows,
        "environment": {
            "runtime": {
                "runtime": "trtexec",
                "version": _shared(log.version for log in logs),
                "gpu": _shared(log.gpu for log in logs),
                "compute_capability": _shared(log.compute_capability for log in logs),
            },
            "clock": _shared(row["clock"] for row in rows),
            "warnings": sorted({warning for log in logs for warning in log.warnings}),
        },
    }


def _shared(values: Any) -> Any:
    """The one value of all runs; None where they differ, as each row has its own."""
    found = set(values)
    return found.pop() if len(found) == 1 else None


def _gathered(name: str, files: Sequence[Path]) -> _Run:
    run = _Run(name=name)
    for path in files:
        if not path.is_file() or path.suffix not in (".json", ".log", ".txt"):
            if path.is_file() and path.suffix in (".engine", ".plan", ".onnx", ".cache"):
                continue
            raise ArtifactError(
                f"{path} is not a file of trtexec's; it exports .json, and what it prints is kept "
                "as .log or .txt"
            )
        _take(run, path)
    if not run.files:
        raise ArtifactError(f"{name} holds no output of trtexec")
    return run


def _take(run: _Run, path: Path) -> None:
    text = path.read_text(encoding="utf-8", errors="replace")
    kind: str
    if path.suffix != ".json":
        kind, run.log = "log", read_log(text, path)
    else:
        kind = _take_json(run, path, text)
    if kind in run.files:
        raise ArtifactError(
            f"{run.files[kind]} and {path} are both {kind} of one run; give each run a folder"
        )
    run.files[kind] = path


def _take_json(run: _Run, path: Path, text: str) -> str:
    try:
        found = json.loads(text)
    except ValueError as error:
        raise ArtifactError(
            f"{path} is damaged ({error}); trtexec was perhaps stopped while it wrote; run it again"
        ) from error
    if isinstance(found, dict) and "Layers" in found:
        run.layers = summarise_layers(layers_from_inspector(text))
        return "layers"
    entries = found if isinstance(found, list) else []
    first = entries[0] if entries and isinstance(entries[0], dict) else {}
    if all(isinstance(each, dict) for each in entries) and "latencyMs" in first:
        run.times = entries
        return "times"
    if all(isinstance(each, dict) for each in entries) and "count" in first:
        run.profile = entries[1:]
        return "profile"
    raise ArtifactError(
        f"{path} is JSON, but neither times, profile nor layers as trtexec exports them"
    )


def _row(run: _Run) -> dict[str, Any]:
    log = run.log
    batch = log.batch if log is not None else 1
    samples: list[list[float]] | None
    if run.times is not None:
        latency, samples = _measured(run, batch)
    elif log is not None and log.summary:
        latency, samples = _printed(log, batch), None
    else:
        raise ArtifactError(
            f"{run.name} holds neither --exportTimes nor a performance summary of trtexec; run it "
            "without --skipInference"
        )
    return {
        "role": None,
        "precision": None,
        "target": "tensorrt",
        "architecture": None,
        "path": (log.model if log is not None else None) or run.name,
        "bytes": None,
        "parameters": None,
        "top1": None,
        "agreement": None,
        "latency_ms": latency,
        "samples_ms": samples,
        "n": None,
        "sha256": None,
        "speedup": None,
        "foreign": None,
        "clock": UNSTATED if log is None else log.clock,
        "trtexec": {
            "version": None if log is None else log.version,
            "command": None if log is None else log.command,
            "throughput_qps": None if log is None else log.throughput,
            "steps_ms": _steps(run),
            "layers": run.layers,
            "profile": _profile(run),
            "warnings": [] if log is None else list(log.warnings),
        },
    }


def _measured(run: _Run, batch: int) -> tuple[dict[str, Any], list[list[float]]]:
    samples = _column(run, "latencyMs")
    summary = statistics.summarise(samples)
    stability = statistics.stability(samples)
    latency = {
        "p50": summary.p50,
        "p90": summary.p90,
        "p95": summary.p95,
        "p99": summary.p99,
        "mean": summary.mean,
        "std": summary.std,
        "cv": summary.cv,
        "min": summary.minimum,
        "max": summary.maximum,
        "n_samples": summary.count,
        "p99_reliable": summary.p99_reliable,
        "unstable": stability.unstable,
        "spread": stability.spread,
        "batch": batch,
        **_rate(run.log, batch),
    }
    # Calls follow one another; each is a round of its own.
    return latency, [[each] for each in samples.tolist()]


def _rate(log: Log | None, batch: int) -> dict[str, float]:
    if log is None or log.throughput is None:
        return {}
    return {"images_per_second": log.throughput * batch}


def _printed(log: Log, batch: int) -> dict[str, Any]:
    """Trtexec's own percentiles; of how many calls it does not say."""
    told = log.summary
    missing = [name for name in ("p90", "p95", "p99") if name not in told]
    if missing:
        raise ArtifactError(
            f"{log.path} gives no {', '.join(missing)}; run trtexec with --percentile=50,90,95,99, "
            "or keep its --exportTimes"
        )
    return {
        **{name: told[name] for name in ("p50", "p90", "p95", "p99", "mean", "min", "max")},
        "unstable": log.unstable,
        "batch": batch,
        **_rate(log, batch),
    }


def _column(run: _Run, name: str) -> statistics.Samples:
    path = run.files["times"]
    try:
        values = np.asarray([float(each[name]) for each in run.times or ()], dtype=np.float64)
    except (KeyError, TypeError, ValueError) as error:
        raise ArtifactError(
            f"{path} is damaged: an entry has no number {name!r}; export the times again"
        ) from error
    if not np.isfinite(values).all() or (values < 0).any():
        raise ArtifactError(f"{path} is damaged: {name!r} is not a time; export the times again")
    return values


def _steps(run: _Run) -> dict[str, float] | None:
    """Medians of the copy to the GPU, the network, and the copy back."""
    if run.times is None:
        return None
    return {name.removesuffix("Ms"): float(np.median(_column(run, name))) for name in STEPS}


def _profile(run: _Run) -> list[dict[str, Any]] | None:
    """Layers and their mean times, in milliseconds."""
    if run.profile is None:
        return None
    try:
        return [{"name": str(p["name"]), "ms": float(p["averageMs"])} for p in run.profile]
    except (KeyError, TypeError, ValueError) as error:
        raise ArtifactError(
            f"{run.files['profile']} is damaged ({error!r}); export the profile again"
        ) from error
