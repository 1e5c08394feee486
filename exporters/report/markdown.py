"""A report as Markdown: for a terminal, a review, a README."""

from __future__ import annotations

from urllib.parse import quote

from exporters.report import words
from exporters.report.int8 import int8_advice, int8_facts, int8_table
from exporters.report.markdown_parts import bullets, cells, text
from exporters.report.notes import notes
from exporters.report.schema import Report
from exporters.report.story import (
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


def to_markdown(report: Report) -> str:
    """Returns the whole report as GitHub-flavoured Markdown."""
    parts = [f"# {text(title(report))}", text(subtitle(report))]
    figures = headline(report)
    if figures:
        parts.append("\n".join(f"- **{text(str(f))}**: {text(f.detail)}" for f in figures))
    parts += ["## Models", cells(model_table(report))]
    latency = latency_table(report)
    if latency.rows:
        parts += ["### Latency, ms a call", cells(latency)]
    said = notes(report)
    if said:
        parts += ["## Keep in mind", "\n".join(f"- {text(note)}" for note in said)]
    if report["images"] or "pool" in report:
        parts.append("## Synthetic images")
        parts += [f"![{text(p['title'])}]({quote(p['file'])})" for p in report["images"]]
        parts += bullets(pool_facts(report))
    trained = distill_facts(report)
    if trained:
        parts += ["## Training", *bullets(trained)]
    if report.get("quantize"):
        parts += _int8(report)
    if report["stages"]:
        parts += ["## What each stage cost", cells(stage_table(report))]
    parts += ["## Real data", _real_data(report)]
    parts += ["## How it was measured", *bullets(facts(report))]
    parts += ["## Files", cells(file_table(report))]
    return "\n\n".join(parts) + "\n"


def _int8(report: Report) -> list[str]:
    parts = ["## INT8 for each target", cells(int8_table(report))]
    for target, about in report["quantize"].items():
        parts += [f"### {text(target)}", *bullets(int8_facts(about))]
        advice = int8_advice(about)
        if advice:
            parts.append("\n".join(f"> {text(line)}  " for line in advice))
    return parts


def _real_data(report: Report) -> str:
    said = report["data_free"]
    lines = [text(said["statement"])]
    lines += [
        f"- {text(read['stage'])}: {text(read['what'])}, {words.count(read['images'])} images"
        for read in said["reads"]
    ]
    return "\n".join([lines[0], "", *lines[1:]]) if said["reads"] else lines[0]
