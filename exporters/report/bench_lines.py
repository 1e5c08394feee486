"""The rows of one or several benchmarks as one list, each with a name and its machine."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from exporters.latency.bench_file import BenchFile, BenchRow
from exporters.report.story import model_name

__all__ = ["Line", "bench_lines", "dominators", "machine_names"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One model on one machine."""

    row: BenchRow
    machine: str
    """Where it was measured."""
    file: int
    """Which of the results it is from."""
    name: str
    """Unlike every other's."""
    short: str
    """Unlike every other's of its result."""


def bench_lines(files: Sequence[BenchFile]) -> list[Line]:
    """Every row in the order given; equal names are told apart by what differs."""
    machines = machine_names(files)
    lines = [
        Line(row=row, machine=machines[index], file=index, name=name, short=name)
        for index, file in enumerate(files)
        for row, name in zip(file.rows, _short_names(file.rows), strict=True)
    ]
    # Results of one machine and one setting are told apart by their files.
    for more in (lambda line: line.machine, lambda line: f"result {line.file + 1}"):
        seen = Counter(line.name for line in lines)
        lines = [
            replace(line, name=f"{line.name}, {more(line)}") if seen[line.name] > 1 else line
            for line in lines
        ]
    return lines


def machine_names(files: Sequence[BenchFile]) -> list[str]:
    """A short name of each result's machine, with its setting where its results differ in that."""
    names = [_machine_name(file) for file in files]
    environments = [
        (file.environment.get("threads"), file.environment.get("runtime")) for file in files
    ]
    told = []
    for name, (threads, _), file in zip(names, environments, files, strict=True):
        alike = [
            other for other, with_name in zip(environments, names, strict=True) if with_name == name
        ]
        if all(other == alike[0] for other in alike):
            told.append(name)
        elif len({str(other[0]) for other in alike}) == len(alike):
            told.append(f"{name}, {threads} threads")
        else:
            told.append(f"{name} ({file.path.name})")
    return told


def dominators(lines: Sequence[Line]) -> list[int | None]:
    """Returns, for each line, the index of one that dominates it, or None.

    Lines of one result and one batch are compared in median, bytes and top-1 (agreement where no
    line has a top-1), and in energy where all have it. One dominates another if it is nowhere worse
    and somewhere better. A line without a time or an accuracy takes no part: a model that is fast
    and small may be worth nothing.
    """
    groups: dict[tuple[int, int], list[int]] = {}
    for index, line in enumerate(lines):
        if line.row.latency is not None:
            groups.setdefault((line.file, line.row.batch), []).append(index)
    found: list[int | None] = [None] * len(lines)
    for group in groups.values():
        costs = _costs({index: lines[index].row for index in group})
        for index, cost in costs.items():
            found[index] = next(
                (
                    other
                    for other, theirs in costs.items()
                    if theirs != cost and all(a <= b for a, b in zip(theirs, cost, strict=True))
                ),
                None,
            )
    return found


def _costs(rows: Mapping[int, BenchRow]) -> dict[int, tuple[float, ...]]:
    """What each row with a known accuracy costs, smaller is better."""
    labelled = any(row.top1 is not None for row in rows.values())
    worth = {index: row.top1 if labelled else row.agreement for index, row in rows.items()}
    kept = {index: (rows[index], value) for index, value in worth.items() if value is not None}
    metered = all(row.energy_mj is not None for row, _ in kept.values())
    return {
        index: (
            -value,
            row.latency["p50"] if row.latency else 0.0,
            float(row.bytes),
            (row.energy_mj or 0.0) if metered else 0.0,
        )
        for index, (row, value) in kept.items()
    }


def _name(row: BenchRow) -> str:
    if row.role in ("teacher", "student") and row.precision:
        model: Any = {"role": row.role, "precision": row.precision, "target": row.target}
        return model_name(model)
    return row.name


def _short_names(rows: Sequence[BenchRow]) -> list[str]:
    """Names of one result's rows: equal ones get what differs, and a number where nothing does."""
    names = [_name(row) for row in rows]
    details: tuple[Callable[[BenchRow], str], ...] = (
        lambda row: f"batch {row.batch}",
        lambda row: f"{row.threads or 1} threads",
        lambda row: row.name,
    )
    for detail in details:
        alike = {
            name: {detail(r) for n, r in zip(names, rows, strict=True) if n == name}
            for name in names
        }
        names = [
            f"{name}, {detail(row)}" if len(alike[name]) > 1 else name
            for name, row in zip(names, rows, strict=True)
        ]
    total, seen = Counter(names), Counter[str]()
    for index, name in enumerate(names):
        seen[name] += 1
        if total[name] > 1:
            names[index] = f"{name}, {seen[name]}"
    return names


def _machine_name(file: BenchFile) -> str:
    device = file.device or {}
    mode = device.get("power_mode")
    board = device.get("module") or device.get("model")
    name = board or file.environment.get("processor") or file.environment.get("machine")
    parts = [str(name or "unknown machine")]
    if isinstance(mode, dict) and mode.get("name"):
        parts.append(str(mode["name"]))
    return ", ".join(parts)
