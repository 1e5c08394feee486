"""A comparison of two benchmarks in words: for a terminal, and for a pull request."""

from __future__ import annotations

from exporters.latency.bench_file import BenchRow
from exporters.latency.compare import Comparison, Judged
from exporters.latency.limits import MEASURES
from exporters.latency.match import Pair
from exporters.report import words
from exporters.report.markdown_parts import text
from exporters.report.story import Table

__all__ = ["change_notes", "change_table", "change_title", "changes_to_markdown"]

VERDICTS = {
    "worse": "WORSE",
    "noisy": "too noisy",
    "ok": "ok",
    "better": "better",
    "shown": "",
    "missing": "not measured",
}


def change_title(comparison: Comparison) -> str:
    """The outcome as one line."""
    worse, noisy = comparison.count("worse"), comparison.count("noisy")
    if worse:
        return f"{worse} of {_limited(comparison)} limits broken"
    if noisy:
        return f"no regression proven; {noisy} of {_limited(comparison)} limits too noisy to judge"
    return "no regression"


def change_table(comparison: Comparison) -> Table:
    """One row a measure of a model."""
    rows = [
        (
            _name(pair),
            judged.name,
            _value(judged, "base"),
            _value(judged, "new"),
            _change(judged),
            str(judged.limit or ""),
            VERDICTS[judged.verdict],
        )
        for pair, all_ in comparison.pairs
        for judged in all_
    ]
    headers = ("Model", "Measure", "Base", "New", "Change [95 %]", "Limit", "Verdict")
    return Table(headers=headers, rows=tuple(rows))


def change_notes(comparison: Comparison) -> list[str]:
    """What a reader of the table must know, the gravest first."""
    said = [
        f"{_name(pair)}, {judged.name}: {VERDICTS[judged.verdict]}: {judged.why}"
        for verdict in ("worse", "noisy", "missing")
        for pair, all_ in comparison.pairs
        for judged in all_
        if judged.verdict == verdict
    ]
    if comparison.differences:
        listed = "; ".join(map(str, comparison.differences))
        said.append(f"Not measured alike: {listed}")
    for rows, file in (
        (comparison.only_base, comparison.base),
        (comparison.only_new, comparison.new),
    ):
        if rows:
            listed = ", ".join(_row_name(row) for row in rows)
            said.append(f"Only in {file.path.name}, and not compared: {listed}")
    same = [_name(pair) for pair, _ in comparison.pairs if _same(pair)]
    if same:
        said.append(f"One and the same file in both: {', '.join(same)}")
    other = [pair for pair, _ in comparison.pairs if pair.matched_by != "path"]
    said += [
        f"{_row_name(pair.base)} is compared with {_row_name(pair.new)} by {pair.matched_by}"
        for pair in other
    ]
    return said


def changes_to_markdown(comparison: Comparison) -> str:
    """The comparison as GitHub-flavoured Markdown: outcome, table, notes."""
    table = change_table(comparison)
    bold = [
        (*row[:-1], f"**{row[-1]}**" if row[-1] == VERDICTS["worse"] else row[-1])
        for row in [tuple(text(cell) for cell in row) for row in table.rows]
    ]
    lines = [
        f"### Benchmark: {change_title(comparison)}",
        "",
        "| " + " | ".join(table.headers) + " |",
        "| --- | --- | ---: | ---: | ---: | --- | --- |",
        *("| " + " | ".join(row) + " |" for row in bold),
    ]
    notes = change_notes(comparison)
    if notes:
        lines += ["", *(f"- {text(note)}" for note in notes)]
    return "\n".join(lines) + "\n"


def _limited(comparison: Comparison) -> int:
    return sum(judged.limit is not None for _, all_ in comparison.pairs for judged in all_)


def _name(pair: Pair) -> str:
    return _row_name(pair.new)


def _row_name(row: BenchRow) -> str:
    more = [f"batch {row.batch}"] if row.batch != 1 else []
    if row.threads is not None:
        more.append(f"{row.threads} threads")
    return f"{row.name} ({', '.join(more)})" if more else row.name


def _same(pair: Pair) -> bool:
    return pair.base.sha256 is not None and pair.base.sha256 == pair.new.sha256


def _value(judged: Judged, side: str) -> str:
    change = judged.change
    if change is None:
        return ""
    value = change.base if side == "base" else change.new
    unit = MEASURES[judged.name].unit
    if unit == "ms":
        return words.milliseconds(value)
    if unit == "bytes":
        return words.size(round(value))
    return f"{value:.3g} mJ" if unit == "mJ" else words.percent(value)


def _change(judged: Judged) -> str:
    change = judged.change
    if change is None:
        return ""
    if MEASURES[judged.name].unit == "points":
        return words.points(change.new - change.base)
    interval = change.interval
    if interval is None:
        return _percent((change.new - change.base) / change.base) if change.base else ""
    return (
        f"{_percent(interval.estimate)} "
        f"[{_percent(interval.low)}, {_percent(interval.high)}]".replace(" %", "")
        + " %"
    )


def _percent(share: float) -> str:
    rounded = round(100 * share, 1)
    sign = words.MINUS if rounded < 0 else "+" if rounded > 0 else words.PLUS_MINUS
    return f"{sign}{abs(rounded):.1f} %"
