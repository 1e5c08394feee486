"""One group of a benchmark: models of equal threads and batch, each in a process of its own."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from cake_edge.progress import Progress
from exporters.devices import Rails
from exporters.latency.cold_start import cold_start
from exporters.latency.inputs import Brought
from exporters.latency.isolation.apart import Apart, open_apart, time_in_turns
from exporters.latency.isolation.worker import WorkerFailed
from exporters.latency.power import Energy, energy, sample_power
from exporters.latency.statistics import doubts
from exporters.remote.options import BenchOptions
from exporters.runtimes import parse_provider, why_not_here

__all__ = ["measure_group"]

Row = dict[str, Any]
CRASHED = "WorkerFailed"


def measure_group(
    models: Sequence[tuple[Path, str]],
    options: BenchOptions,
    threads: int,
    batch: int,
    rails: Rails,
    progress: Progress,
    brought: Brought | None = None,
) -> list[Row]:
    """Measures models that are open at the same time and take turns.

    Args:
        models: file and SHA-256 of each.
        brought: where the images come from, unless each model makes its own.

    Returns:
        A row for each in the order given: of what failed with `failure` and `failure_kind`, of
        what is for another machine with `foreign`; `latency_ms` is None for both.
    """
    config = options.latency(batch)
    paths = [path for path, _ in models]
    rows = []
    with ExitStack() as stack:
        with open_apart(paths, options.how(threads), config, options.setting(), progress) as opened:
            foreign = [_foreign(model, options) for model in opened]
            timed = [
                model
                for model, why in zip(opened, foreign, strict=True)
                if model.open and (why is None or options.force)
            ]
            if brought is not None:
                _show(timed, brought, stack)
            time_in_turns(timed, config, progress)
            power = _energies(timed, batch, rails, options, progress)
            for (path, digest), model, why in zip(models, opened, foreign, strict=True):
                row = _row(path, digest, model, why, threads, batch)
                used = model in power and row["latency_ms"]
                row["energy"] = power[model].to_dict() if used else None
                rows.append(row)
        for number, (model, row) in enumerate(zip(opened, rows, strict=True)):
            row["cold_start"] = _cold_start(model, row, options, threads, batch)
            if options.cold_runs:
                progress("cold start", number + 1, len(rows), model.path.name)
    return rows


def _show(models: Sequence[Apart], brought: Brought, stack: ExitStack) -> None:
    """Gives each model images in a file of its own, which goes with `stack`."""
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="cake-edge-")))
    for number, model in enumerate(models):
        model.show(brought, folder / str(number))


def _foreign(model: Apart, options: BenchOptions) -> str | None:
    if model.opening is None:
        return None
    provider = parse_provider(options.provider).name
    return why_not_here(model.opening.card, options.runtime, provider)


def _row(
    path: Path, digest: str, model: Apart, foreign: str | None, threads: int, batch: int
) -> Row:
    card = None if model.opening is None else model.opening.card
    memory = model.memory_mib()  # the last that is asked of it, and it may fail at that
    result, failure = model.result(), model.failure
    return {
        "role": card.role if card else None,
        "precision": card.precision if card else None,
        "target": card.target if card else None,
        "architecture": card.architecture if card else None,
        "path": str(path),
        "bytes": path.stat().st_size,
        "parameters": card.parameters if card else None,
        "top1": None,
        "agreement": None,
        "n": None,
        "sha256": digest,
        "runtime": None if model.opening is None else model.opening.runtime,
        "threads": threads,
        "batch": batch,
        "latency_ms": None if result is None else result.to_dict(),
        "samples_ms": None if result is None else result.samples_ms.tolist(),
        "doubts": [] if result is None else list(doubts(result.summary, result.stability)),
        "memory_mib": memory,
        "foreign": foreign,
        "failure": None if failure is None else str(failure),
        "failure_kind": None if failure is None else _kind(failure),
    }


def _kind(failure: WorkerFailed) -> str:
    return type(failure.cause).__name__ if failure.cause is not None else CRASHED


def _cold_start(
    model: Apart, row: Row, options: BenchOptions, threads: int, batch: int
) -> dict[str, Any] | None:
    if row["latency_ms"] is None or not options.cold_runs:
        return None
    try:
        return cold_start(
            model.path, options.how(threads), batch=batch, seed=options.seed,
            runs=options.cold_runs, setting=options.setting(), images_file=model.images_file,
        )  # fmt: skip
    except WorkerFailed as failed:
        return {"failure": str(failed)}


def _energies(
    models: Sequence[Apart], batch: int, rails: Rails, options: BenchOptions, progress: Progress
) -> dict[Apart, Energy]:
    """Energy of each model by itself: a sensor that averages would blur models that take turns."""
    if not rails.total or not options.energy_seconds:
        return {}
    found = {}
    well = [model for model in models if model.open]
    for number, model in enumerate(well):
        progress("energy", number, len(well), rails.name)
        measured = _energy(model, batch, rails, options)
        if measured is not None:
            found[model] = measured
    progress("energy", len(well), len(well), rails.name)
    return found


def _energy(model: Apart, batch: int, rails: Rails, options: BenchOptions) -> Energy | None:
    read, idle = rails.reader(), None
    if options.idle_seconds:
        idle = sample_power(
            read, lambda: time.sleep(options.idle_seconds), rail=rails.name, hz=options.power_hz
        )
    worked: list[tuple[float, float, int] | None] = []
    trace = sample_power(
        read, lambda: worked.append(model.work(options.energy_seconds)),
        rail=rails.name, hz=options.power_hz,
    )  # fmt: skip
    if worked[0] is None:
        return None
    start, end, calls = worked[0]
    return energy(trace, [(start, end)], idle, inferences=calls * batch)
