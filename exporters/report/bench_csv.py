"""A benchmark as CSV: one line a model, values unrounded, for a spreadsheet."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

from exporters.latency.bench_file import BenchFile
from exporters.report.bench_lines import Line, dominators

__all__ = ["bench_to_csv"]

LATENCY = ("p50", "p90", "p95", "p99", "mean", "std", "min", "max", "first")
FORMULA = ("=", "+", "-", "@", "\t")
"""What a spreadsheet would take for a formula at the start of a text."""


def bench_to_csv(files: Sequence[BenchFile], lines: Sequence[Line]) -> str:
    """Returns the table with a header; what was not measured is empty."""
    out = io.StringIO()
    rows = [
        _row(files[line.file], line, None if better is None else lines[better].name)
        for line, better in zip(lines, dominators(lines), strict=True)
    ]
    writer = csv.DictWriter(out, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: _safe(value) for name, value in row.items()} for row in rows)
    return out.getvalue()


def _row(file: BenchFile, line: Line, dominated_by: str | None) -> dict[str, Any]:
    row, environment = line.row, file.environment
    latency: Mapping[str, Any] = line.row.latency or {}
    runtime, ratio = environment.get("runtime") or {}, row.speedup
    return {
        "model": line.name,
        "result": file.path.name,
        "machine": line.machine,
        "host": file.host,
        "runtime": runtime.get("runtime"),
        "runtime_version": runtime.get("version"),
        "providers": " ".join(map(str, runtime.get("providers") or [])),
        "threads": row.threads or environment.get("threads"),
        "batch": row.batch,
        "path": row.path,
        "sha256": row.sha256,
        "role": row.role,
        "precision": row.precision,
        "target": row.target,
        "architecture": row.architecture,
        "parameters": row.parameters,
        "bytes": row.bytes,
        "top1": row.top1,
        "agreement": row.agreement,
        **{f"{name}_ms": latency.get(name) for name in LATENCY},
        "p99_bound_ms": latency.get("p99_bound"),
        "calls": latency.get("n_samples"),
        "p99_reliable": latency.get("p99_reliable"),
        "unstable": latency.get("unstable"),
        "images_per_second": latency.get("images_per_second"),
        "speedup": ratio["estimate"] if ratio else None,
        "speedup_low": ratio["low"] if ratio else None,
        "speedup_high": ratio["high"] if ratio else None,
        "energy_mj": row.energy_mj,
        "energy_uncertainty_mj": row.energy_uncertainty_mj,
        "energy_above_idle_mj": row.energy_above_idle_mj,
        "rail": row.rail,
        "dominated_by": dominated_by,
        "doubts": "; ".join(row.doubts) if row.doubts else None,
        "failure": row.failure,
    }


def _safe(value: Any) -> Any:
    """A text that no spreadsheet computes; numbers and the rest as they are."""
    if isinstance(value, bool):
        return str(value).lower()
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA) else value
