"""A report as Markdown: for a terminal, a review, a README."""

from __future__ import annotations

import re
from urllib.parse import quote

from exporters.report import words
from exporters.report.int8 import int8_advice, int8_facts, int8_table
from exporters.report.notes import notes
from exporters.report.schema import Report
from exporters.report.story import (
    Table,
    facts,
    file_table,
    headline,
    latency_table,
    model_table,
    subtitle,
    title,
)
from exporters.report.summaries import distill_facts, pool_facts, stage_table

__all__ = ["to_markdown"]

SPECIAL = re.compile(r"([\\`*_\[\]<>|#])")


def to_markdown(report: Report) -> str:
    """Returns the whole report as GitHub-flavoured Markdown."""
    parts = [f"# {_text(title(report))}", _text(subtitle(report))]
    figures = headline(report)
    if figures:
        parts.append("\n".join(f"- **{_text(str(f))}**: {_text(f.detail)}" for f in figures))
    parts += ["## Models", _table(model_table(report))]
    latency = latency_table(report)
    if latency.rows:
        parts += ["### Latency, ms a call", _table(latency)]
    said = notes(report)
    if said:
        parts += ["## Keep in mind", "\n".join(f"- {_text(note)}" for note in said)]
    if report["images"] or "pool" in report:
        parts.append("## Synthetic images")
        parts += [f"![{_text(p['title'])}]({quote(p['file'])})" for p in report["images"]]
        parts += _list(pool_facts(report))
    trained = distill_facts(report)
    if trained:
        parts += ["## Training", *_list(trained)]
    if report.get("quantize"):
        parts += _int8(report)
    if report["stages"]:
        parts += ["## What each stage cost", _table(stage_table(report))]
    parts += ["## Real data", _real_data(report)]
    parts += ["## How it was measured", *_list(facts(report))]
    parts += ["## Files", _table(file_table(report))]
    return "\n\n".join(parts) + "\n"


def _int8(report: Report) -> list[str]:
    parts = ["## INT8 for each target", _table(int8_table(report))]
    for target, about in report["quantize"].items():
        parts += [f"### {_text(target)}", *_list(int8_facts(about))]
        advice = int8_advice(about)
        if advice:
            parts.append("\n".join(f"> {_text(line)}  " for line in advice))
    return parts


def _real_data(report: Report) -> str:
    said = report["data_free"]
    lines = [_text(said["statement"])]
    lines += [
        f"- {_text(read['stage'])}: {_text(read['what'])}, {words.count(read['images'])} images"
        for read in said["reads"]
    ]
    return "\n".join([lines[0], "", *lines[1:]]) if said["reads"] else lines[0]


def _table(table: Table) -> str:
    rule = ["---:" if numeric else "---" for numeric in table.numbers()]
    rows = [table.headers, tuple(rule), *table.rows]
    return "\n".join(
        "| " + " | ".join(cell if row is rows[1] else _text(cell) for cell in row) + " |"
        for row in rows
    )


def _list(rows: list[tuple[str, str]]) -> list[str]:
    if not rows:
        return []
    return ["\n".join(f"- {_text(name)}: {_text(value)}" for name, value in rows)]


def _text(value: str) -> str:
    """Escapes what Markdown would read as markup; a line break becomes a space."""
    return SPECIAL.sub(r"\\\1", " ".join(value.split()))
