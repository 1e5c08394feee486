"""Reads the JSON that `cake-edge bench --out` writes, and believes nothing of it unchecked.

A run's report.json has the same rows without raw samples, and is read as well: its accuracies and
sizes can be compared, its latencies only shown.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypedDict

import numpy as np

from cake_edge.errors import ArtifactError
from cake_edge.provenance import read_json
from exporters.latency.statistics import Samples, summarise
from exporters.report.checks import check
from exporters.report.schema import Latency, Ratio

__all__ = ["SCHEMA_VERSION", "BenchFile", "BenchRow", "read_bench_file", "with_accuracy"]

SCHEMA_VERSION = 1


class _Energy(TypedDict, total=False):
    millijoules: float
    millijoules_uncertainty: float | None
    millijoules_above_idle: float | None
    rail: str


class _RowCore(TypedDict):
    path: str
    bytes: int
    latency_ms: Latency | None


class _Row(_RowCore, total=False):
    role: str | None
    precision: str | None
    target: str | None
    architecture: str | None
    sha256: str | None
    parameters: int | None
    top1: float | None
    agreement: float | None
    speedup: Ratio | None
    energy: _Energy | None
    energy_mj: float | None
    rail: str | None
    foreign: str | None
    why_not_timed: str | None
    failure: str | None
    doubts: list[str]
    threads: int | None
    batch: int | None


class _File(TypedDict):
    schema_version: int
    models: list[_Row]
    environment: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchRow:
    """One model as it was measured; what was not measured or said is None."""

    path: str
    """The file as it was named when it was measured."""
    sha256: str | None
    """Of the file's bytes."""
    role: str | None
    """teacher or student."""
    precision: str | None
    """fp32, int8, …"""
    target: str | None
    """What the file was made for."""
    architecture: str | None
    """The network's name."""
    parameters: int | None
    """Number of weights."""
    bytes: int
    """Size of the file."""
    batch: int
    """Images a call."""
    threads: int | None
    """Threads the model was given, where the row says it."""
    latency: Latency | None
    """The summary, in milliseconds a call."""
    samples_ms: Samples | None
    """[rounds, burst] milliseconds a call in the order of time."""
    speedup: Ratio | None
    """How many times faster than the first model of its file."""
    top1: float | None
    """Percent."""
    agreement: float | None
    """Percent of images classified as the teacher does."""
    energy_mj: float | None
    """Millijoules an inference, idle power included."""
    energy_uncertainty_mj: float | None
    """Half the 95 % interval of that."""
    energy_above_idle_mj: float | None
    """Millijoules an inference beyond what the device draws idle."""
    rail: str | None
    """Where the power was measured."""
    doubts: tuple[str, ...] | None
    """Sentences on what to doubt of the latency; None where the file is older than them."""
    failure: str | None
    """Why there is no latency."""

    @property
    def name(self) -> str:
        """The file's name."""
        return self.path.replace("\\", "/").rpartition("/")[2]


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchFile:
    """A whole result."""

    path: Path
    """The JSON file."""
    rows: tuple[BenchRow, ...]
    """In the order in which they were given to `bench`."""
    environment: Mapping[str, Any]
    """`latency_environment()` with `runtime`."""
    device: Mapping[str, Any] | None
    """A board's description before the measurement, where there is one."""
    host: str | None
    """The remote machine that measured, or None."""


def read_bench_file(path: Path) -> BenchFile:
    """Reads one result.

    Raises:
        ArtifactError: the file is missing, damaged, of another version or of another origin; one
            sentence that names the file and the place in it.
    """
    found = read_json(path)
    if "schema_version" not in found or "models" not in found:
        raise ArtifactError(
            f"{path} is no result of `cake-edge bench --out`: it has no "
            f"{'models' if 'schema_version' in found else 'schema_version'}"
        )
    if found["schema_version"] != SCHEMA_VERSION:
        raise ArtifactError(
            f"{path} has schema_version {found['schema_version']!r:.40}; this version of cake-edge "
            f"reads {SCHEMA_VERSION}: measure again with it"
        )
    try:
        check(found, _File, "")
        rows = tuple(_row(row, f"models[{index}]") for index, row in enumerate(found["models"]))
        device, host = _device(found), _host(found)
    except ArtifactError as error:
        raise ArtifactError(f"{path} is damaged: {error}") from error
    if not rows:
        raise ArtifactError(f"{path} holds no model: measure at least one")
    return BenchFile(
        path=path, rows=rows, environment=found["environment"], device=device, host=host
    )


def with_accuracy(file: BenchFile, sources: Sequence[BenchFile]) -> BenchFile:
    """Takes the accuracy that a row lacks from a row of `sources` about the same bytes.

    A file is as accurate on one machine as on another, and `bench` does not measure it; where
    several sources know it, the first one is believed.
    """
    known = {
        row.sha256: row
        for source in reversed(sources)
        for row in reversed(source.rows)
        if row.sha256 is not None and (row.top1 is not None or row.agreement is not None)
    }

    def filled(row: BenchRow) -> BenchRow:
        same = known.get(row.sha256 or "")
        if same is None or row.top1 is not None or row.agreement is not None:
            return row
        return replace(row, top1=same.top1, agreement=same.agreement)

    return replace(file, rows=tuple(filled(row) for row in file.rows))


def _row(row: Mapping[str, Any], place: str) -> BenchRow:
    latency = row["latency_ms"]
    energy = row.get("energy") or {}
    if row["bytes"] < 0:
        raise ArtifactError(f"{place}.bytes is {row['bytes']}; it must be 0 or more")
    return BenchRow(
        path=row["path"],
        sha256=row.get("sha256"),
        role=row.get("role"),
        precision=row.get("precision"),
        target=row.get("target"),
        architecture=row.get("architecture"),
        parameters=row.get("parameters"),
        bytes=row["bytes"],
        batch=(latency or {}).get("batch", row.get("batch") or 1),
        threads=row.get("threads"),
        latency=latency,
        samples_ms=_samples(row, place),
        speedup=row.get("speedup"),
        top1=row.get("top1"),
        agreement=row.get("agreement"),
        energy_mj=row.get("energy_mj", energy.get("millijoules")),
        energy_uncertainty_mj=energy.get("millijoules_uncertainty"),
        energy_above_idle_mj=energy.get("millijoules_above_idle"),
        rail=row.get("rail", energy.get("rail")),
        doubts=tuple(row["doubts"]) if "doubts" in row else None,
        failure=None if latency is not None else _why(row),
    )


def _why(row: Mapping[str, Any]) -> str:
    if row.get("failure"):
        return str(row["failure"])
    if row.get("foreign"):
        return f"it was {row['foreign']}"
    return str(row.get("why_not_timed") or "no reason is given")


def _samples(row: Mapping[str, Any], place: str) -> Samples | None:
    """The raw samples, [rounds, burst], held against the summary that stands beside them."""
    given, latency = row.get("samples_ms"), row["latency_ms"]
    if given is None or latency is None:
        return None
    try:
        values = np.asarray(given)
    except ValueError:
        values = np.empty(0)
    numbers = values.ndim == 2 and values.size > 0 and values.dtype.kind in "fi"
    if not numbers or not np.isfinite(values).all() or values.min() < 0:
        raise ArtifactError(
            f"{place}.samples_ms must be a list of rounds of one length, of milliseconds"
        )
    samples = values.astype(np.float64)
    p50 = summarise(samples).p50
    if abs(p50 - latency["p50"]) > 1e-6 * max(p50, 1.0):
        raise ArtifactError(
            f"{place}.latency_ms.p50 is {latency['p50']:g}, but its samples have {p50:g}"
        )
    return samples


def _device(found: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The description of a board, with or without one from after the measurement."""
    device = found.get("device")
    if device is None:
        return None
    check(device, dict[str, Any], "device")
    described = device.get("before", device)
    check(described, dict[str, Any], "device.before")
    return dict(described)


def _host(found: Mapping[str, Any]) -> str | None:
    host = found.get("host")
    if host is None:
        return None
    check(host, dict[str, Any], "host")
    return str(host.get("target", "")) or None
