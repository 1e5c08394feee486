"""What `cake-edge bench` prints for people: the table, and what must be known to read it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click

from cake_edge.cli.bench_options import INPUTS
from cake_edge.cli.console import duration, table

__all__ = ["short_reason", "show_plan", "show_rows"]

CLAUSE_END = re.compile(r": |; | \(\[")

Found = dict[str, Any]
LONGEST_CLAUSE = 70
"""Characters of a reason in the table."""


def show_rows(found: Found, shown: str | None) -> None:
    """Prints a result; `shown` is where every sample is, or None."""
    rows = found["models"]
    several = {
        name: len({_setting(found, row)[name] for row in rows}) > 1 for name in ("threads", "batch")
    }
    columns = [name for name, differs in several.items() if differs]
    powered = any(row["energy"] for row in rows)
    held = any((row["memory_mib"] or {}).get("peak") for row in rows)
    cold = any((row["cold_start"] or {}).get("total") for row in rows)
    header = (
        *("model", "size", *columns, "p50 ms", "p90", "p95", "p99", "images/s", "speed-up"),
        *(["peak MiB"] if held else []),
        *(["cold start s"] if cold else []),
        *(["mJ above idle"] if powered else []),
        "",
    )
    cells = []
    for place, row in enumerate(rows):
        setting = _setting(found, row)
        line = [row["path"], _size(row), *(str(setting[name]) for name in columns)]
        latency = row["latency_ms"]
        if latency is None:
            line += [""] * (len(header) - len(line) - 1)
            cells.append((*line, _why_not(row)))
            continue
        line += [f"{latency[name]:.3f}" for name in ("p50", "p90", "p95")]
        line += [
            f"{latency['p99']:.3f}{'' if latency['p99_reliable'] else ' *'}",
            f"{latency['images_per_second']:,.0f}",
            _ratio(row["speedup"]),
            *([_number((row["memory_mib"] or {}).get("peak"), ".0f")] if held else []),
            *([_seconds(row["cold_start"])] if cold else []),
            *([_millijoules(row["energy"])] if powered else []),
            ", ".join(_remarks(found, place)),
        ]
        cells.append(tuple(line))
    click.echo(table(header, cells))
    # A file of several rows is told of once.
    for sentence in dict.fromkeys(
        (*_foot(found), *_failures(rows), *_doubts(found), *_notes(found))
    ):
        click.echo(sentence)
    if shown is not None:
        click.echo(f"Every sample is in {shown}")


def show_plan(plan: Found) -> None:
    """Prints what would be measured."""
    header = ("model", "runtime", "threads", "batch")
    cells = [tuple(str(row[name]) for name in ("path", *header[1:])) for row in plan["rows"]]
    click.echo(table(header, cells))
    rows = f"{len(cells)} row{'s' if len(cells) > 1 else ''}"
    most = "At most " if plan["sweep"] else ""
    click.echo(
        f"{most}{rows}, about {duration(plan['estimated_seconds'])}; building engines comes on "
        "top. Nothing was measured."
    )


def short_reason(row: Found) -> str:
    """The first clause of why a row failed; empty where it did not. The table's foot has it all."""
    why = _reason(row).removeprefix(row["path"]).lstrip(": ")
    return CLAUSE_END.split(why, maxsplit=1)[0]


def _reason(row: Found) -> str:
    return str(row["failure"] or (row["cold_start"] or {}).get("failure") or "")


def _size(row: Found) -> str:
    """The size of a row's file."""
    from exporters.report.words import size

    return size(row["bytes"])


def _setting(found: Found, row: Found) -> dict[str, int]:
    return {"threads": row["threads"] or found["environment"]["threads"], "batch": row["batch"]}


def _why_not(row: Found) -> str:
    clause = short_reason(row)
    if not clause:
        return "not timed"
    return f"failed: {clause}" if len(clause) <= LONGEST_CLAUSE else "failed"


def _ratio(ratio: Found | None) -> str:
    if not ratio:
        return ""
    mark = "" if ratio["paired"] else " +"
    return f"{ratio['estimate']:.2f}x [{ratio['low']:.2f}, {ratio['high']:.2f}]{mark}"


def _remarks(found: Found, place: int) -> Iterator[str]:
    for best in found["best"]:
        if place == best["latency"]:
            yield "lowest latency"
        if place == best["throughput"]:
            yield "most images/s"
    if found["models"][place]["latency_ms"]["unstable"]:
        yield "unstable"


def _foot(found: Found) -> Iterator[str]:
    """What the marks and figures of the table mean."""
    timed = [row for row in found["models"] if row["latency_ms"] is not None]
    if timed:
        yield f"The clock holds {found['environment']['clock']}."
        yield _input(found["environment"]["input"])
    if any(not row["latency_ms"]["p99_reliable"] for row in timed):
        yield "* an example, not a bound"
    if any(row["speedup"] and not row["speedup"]["paired"] for row in timed):
        yield "+ not paired: the models ran one after the other, and the machine may have changed"
    if any(row["speedup"] for row in timed) and len(timed) > 2:
        yield "Speed-ups are against the first model of the same threads and batch."
    if any((row["cold_start"] or {}).get("total") for row in timed):
        yield (
            "Cold start: a fresh process to its first answer, median; the file cache was warm, "
            "which after switching a device on it is not."
        )
    rails = {row["energy"]["rail"] for row in found["models"] if row["energy"]}
    if rails:
        yield f"Energy an inference, measured at {', '.join(sorted(rails))}."


def _input(name: str) -> str:
    if name not in INPUTS:
        return f"The input was images of {name}."
    return f"The input was {name}: a kernel whose time depends on what it sees may differ."


def _words(found: Found, row: Found) -> str:
    """The setting of a row among others of its file."""
    setting = _setting(found, row)
    threads = f", {setting['threads']} threads" if row["threads"] else ""
    return f"batch {setting['batch']}{threads}"


def _doubts(found: Found) -> Iterator[str]:
    """What keeps medians from being the whole story; what is said of several rows is said once."""
    rows = found["models"]
    paths = {row["path"] for row in rows}
    alone = len({Path(path).name for path in paths}) == len(paths)
    several = len(rows) > len(paths)
    said: dict[str, list[str]] = {}
    for row in rows:
        name = Path(row["path"]).name if alone else row["path"]
        if several:
            name = f"{name} ({_words(found, row)})"
        for doubt in row["doubts"]:
            said.setdefault(doubt, []).append(name)
    for doubt, names in said.items():
        who = "all rows" if len(names) == len(rows) > 1 else ", ".join(dict.fromkeys(names))
        yield f"Doubt: {who}: {doubt}."


def _failures(rows: Sequence[Found]) -> Iterator[str]:
    for row in rows:
        why = _reason(row)
        if why:
            name = "" if why.startswith(row["path"]) else f"{row['path']}: "
            yield f"Failed: {name}{why}."
        if row.get("sweep_end"):
            yield f"The sweep of {row['path']} ended at batch {row['batch']}: {row['sweep_end']}."


def _notes(found: Found) -> Iterator[str]:
    for row in found["models"]:
        if row["foreign"] is not None:
            forced = row["latency_ms"] is not None
            said = "the time says nothing of its target" if forced else "not timed"
            yield f"Note: {row['path']} was {row['foreign']}: {said}."
    for warning in (*found["environment"]["warnings"], *found["advice"]):
        yield f"Note: {warning}."


def _number(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)


def _seconds(cold: Found | None) -> str:
    return "" if cold is None or "total" not in cold else f"{cold['total']['median']:.2f}"


def _millijoules(energy: Found | None) -> str:
    if energy is None or energy["millijoules_above_idle"] is None:
        return ""
    doubt = " ?" if energy["doubts"] else ""
    return f"{energy['millijoules_above_idle']:.2f}{doubt}"
