"""Latency and energy of models on the machine at hand, as rows of a report.

A row is one model with one number of threads and one batch. Rows of equal threads and batch are a
group, whose models take turns; without that each row is measured alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cake_edge import errors, provenance
from cake_edge.errors import (
    ArtifactError,
    DatasetError,
    DeviceUnavailable,
    RuntimeUnavailable,
    UsageMistake,
)
from cake_edge.progress import Progress, silent
from exporters.devices import Rails, advice, changes, describe_device, find_rails
from exporters.latency.environment import latency_environment, load_average
from exporters.latency.inputs import INPUTS, Brought
from exporters.latency.speedups import best_rows, speedups
from exporters.latency.sweep import BatchSweep
from exporters.remote.group import measure_group
from exporters.remote.journal import Journal
from exporters.remote.options import BenchOptions

__all__ = ["Rows", "bench_rows", "measure_here"]

Row = dict[str, Any]
OF_ALL_MODELS = tuple(
    kind.__name__ for kind in (UsageMistake, DatasetError, RuntimeUnavailable, DeviceUnavailable)
)
"""Errors of the request or the machine: where no model could be opened, they are the answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """What was measured."""

    rows: list[Row]
    """By model, threads and batch."""
    best: list[dict[str, int]]
    """As `best_rows`."""
    runtime: dict[str, Any]
    """What the runtime says of itself, with the first model that was timed."""


def measure_here(
    models: Sequence[Path],
    options: BenchOptions,
    progress: Progress = silent,
    journal: Journal | None = None,
    brought: Brought | None = None,
) -> dict[str, Any]:
    """Measures models, and describes the machine before and after.

    Args:
        journal: where finished rows are kept, and found.
        brought: where images come from that `options.input` names; None for those that need no
            file.

    Returns:
        `schema_version`, `models` and `best` as `bench_rows` gives them, `device` with `before` and
        `after`, `advice` (sentences), `environment` with `runtime`, `clock` and `input`, and
        `options`.

    Raises:
        As `bench_rows`.
    """
    before, load = describe_device(), load_average()
    found = bench_rows(models, options, find_rails(), progress, journal, brought)
    after = describe_device()
    environment = latency_environment(threads=max(options.threads), load_before=load)
    return {
        "schema_version": 1,
        "models": found.rows,
        "best": found.best,
        "device": {"before": before.to_dict(), "after": after.to_dict()},
        "advice": [*advice(before), *changes(before, after)],
        "environment": {
            **environment,
            "threads": options.threads[0] if len(options.threads) == 1 else None,
            "runtime": found.runtime,
            "input": options.input,
        },
        "options": options.to_dict(),
    }


def bench_rows(
    models: Sequence[Path],
    options: BenchOptions,
    rails: Rails,
    progress: Progress = silent,
    journal: Journal | None = None,
    brought: Brought | None = None,
) -> Rows:
    """Times models in turns, then measures the energy of each by itself.

    Returns:
        A row for each model, number of threads and batch, with the keys of a report's model,
        `samples_ms`, `threads`, `batch`, `runtime`, `memory_mib`, `energy` (None where there are no
        rails), `cold_start`, `foreign`, `doubts` (sentences on the latency), `failure` (a sentence,
        or None), `failure_kind`, and `sweep_end` where a sweep of batches ended with it.

    Raises:
        ArtifactError: a file is missing, or all are for other machines.
        UsageMistake, RuntimeUnavailable, DeviceUnavailable: no model at all can be opened so.
        DatasetError: no model at all can be shown the images that were brought.
    """
    if brought is None and options.input not in INPUTS:
        raise UsageMistake(
            f"the input is {options.input!r}, whose images are not here; without them it may be "
            f"{', '.join(INPUTS)}"
        )
    for path in models:
        if not path.is_file():
            raise ArtifactError(f"{path} does not exist or is not a file; name a model file")
    hashed = [(path, provenance.sha256_file(path)) for path in models]
    bench = _Bench(hashed, options, rails, progress, journal, brought)
    found: list[tuple[int, Row]] = []
    for threads in options.threads:
        found += bench.all_batches(threads, first=not found)
    found.sort(key=lambda entry: entry[0])
    numbers, rows = [number for number, _ in found], [row for _, row in found]
    for row, ratio in zip(
        rows, speedups(rows, paired=options.interleave, seed=options.seed), strict=True
    ):
        row["speedup"] = ratio
        if len(options.threads) == 1:
            # The environment says it, as it does of results that know of one number alone: rows of
            # two results are matched by what stands here.
            row["threads"] = None
    timed = [row["runtime"] for row in rows if row["latency_ms"] is not None]
    return Rows(
        rows=rows,
        best=best_rows(numbers, rows),
        runtime=timed[0] if timed else {"runtime": options.runtime},
    )


class _Bench:
    """A benchmark under way."""

    def __init__(
        self,
        models: list[tuple[Path, str]],
        options: BenchOptions,
        rails: Rails,
        progress: Progress,
        journal: Journal | None,
        brought: Brought | None,
    ) -> None:
        self._models = models
        self._options = options
        self._rails = rails
        self._progress = progress
        self._journal = journal
        self._brought = brought

    def all_batches(self, threads: int, *, first: bool) -> list[tuple[int, Row]]:
        """Rows of one number of threads, each with the number of its model."""
        options, found = self._options, list[tuple[int, Row]]()
        sweeps = {number: BatchSweep(options.max_batch) for number in range(len(self._models))}
        for batch in options.batches:
            going = [number for number, sweep in sweeps.items() if sweep.why is None]
            rows = self._group(going, threads, batch) if going else []
            if first and not found:
                self._refuse_hopeless(rows)
            for number, row in zip(going, rows, strict=True):
                if not options.sweep_batch:
                    found.append((number, row))
                    continue
                last = next((old for n, old in reversed(found) if n == number), None)
                if _advance(sweeps[number], row, last):
                    found.append((number, row))
        return found

    def _group(self, numbers: Sequence[int], threads: int, batch: int) -> list[Row]:
        together = [list(numbers)] if self._options.interleave else [[n] for n in numbers]
        return [row for part in together for row in self._part(part, threads, batch)]

    def _part(self, numbers: list[int], threads: int, batch: int) -> list[Row]:
        """Rows that belong together: all of them are found in the journal, or all are measured."""
        if self._journal is not None:
            kept = [self._journal.kept(number, threads, batch) for number in numbers]
            if None not in kept:
                return [row for row in kept if row is not None]
        rows = measure_group(
            [self._models[number] for number in numbers],
            self._options, threads, batch, self._rails, self._progress, self._brought,
        )  # fmt: skip
        if self._journal is not None:
            self._journal.add(numbers, rows)
        return rows

    def _refuse_hopeless(self, rows: Sequence[Row]) -> None:
        """Raises what stands in the way of every model, after the first attempt."""
        if all(row["failure_kind"] in OF_ALL_MODELS for row in rows):
            raise getattr(errors, rows[0]["failure_kind"])(rows[0]["failure"])
        if all(row["foreign"] and row["latency_ms"] is None for row in rows):
            raise ArtifactError(
                f"{rows[0]['path']} was {rows[0]['foreign']}: a time measured there says nothing "
                "of its target; time it all the same with --force"
            )


def _advance(sweep: BatchSweep, row: Row, last: Row | None) -> bool:
    """Takes a row of a sweep into account; returns whether it is one of the result's."""
    if row["latency_ms"] is not None:
        sweep.add(row["batch"], row["latency_ms"]["images_per_second"])
        row["sweep_end"] = sweep.why
        return True
    sweep.stop(row["failure"] or "it is not timed here")
    if last is not None and row["failure_kind"] == ArtifactError.__name__:
        # The file itself fixes its batch: nothing went wrong, there is just no more to measure.
        last["sweep_end"] = row["failure"]
        return False
    return True
