"""Reports of benchmarks: one or several results in, Markdown, CSV and one HTML file out."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path

from cake_edge.provenance import atomic_path
from exporters.latency.bench_file import BenchFile
from exporters.report import html_parts as html
from exporters.report import markdown_parts as markdown
from exporters.report.bench_csv import bench_to_csv
from exporters.report.bench_lines import Line, bench_lines, dominators
from exporters.report.bench_plot import area_measure, bench_pareto
from exporters.report.bench_story import (
    bench_facts,
    bench_figures,
    bench_notes,
    bench_subtitle,
    bench_table,
    bench_title,
    failure_table,
    file_table,
    latency_table,
)

__all__ = ["bench_to_html", "bench_to_markdown", "write_bench_report"]


def write_bench_report(files: Sequence[BenchFile], folder: Path) -> dict[str, Path]:
    """Writes bench.md, bench.csv and bench.html into `folder`; returns their paths by ending.

    Everything is rendered before anything is written.
    """
    lines = bench_lines(files)
    pages = {
        "md": bench_to_markdown(files),
        "csv": bench_to_csv(files, lines),
        "html": bench_to_html(files),
    }
    paths = {}
    for ending, text in pages.items():
        paths[ending] = folder / f"bench.{ending}"
        with atomic_path(paths[ending]) as temporary:
            temporary.write_text(text, encoding="utf-8", newline="\n")
    return paths


def bench_to_markdown(files: Sequence[BenchFile]) -> str:
    """Returns the report as GitHub-flavoured Markdown."""
    lines = bench_lines(files)
    parts = [f"# {markdown.text(bench_title(lines))}", markdown.text(bench_subtitle(lines))]
    figures = bench_figures(lines)
    if figures:
        parts.append(
            "\n".join(
                f"- **{markdown.text(str(figure))}**: {markdown.text(figure.detail)}"
                for figure in figures
            )
        )
    parts += ["## Models", markdown.cells(bench_table(lines))]
    if any(line.row.latency for line in lines):
        parts += ["### Latency, ms a call", markdown.cells(latency_table(lines))]
    failures = failure_table(lines)
    if failures.rows:
        parts += ["## Not measured", markdown.cells(failures)]
    said = bench_notes(files, lines)
    if said:
        parts += ["## Keep in mind", "\n".join(f"- {markdown.text(note)}" for note in said)]
    parts.append("## How it was measured")
    for file in files:
        if len(files) > 1:
            parts.append(f"### {markdown.text(file.path.name)}")
        parts += markdown.bullets(bench_facts(file))
    parts += ["## Files", markdown.cells(file_table(lines))]
    return "\n\n".join(parts) + "\n"


def bench_to_html(files: Sequence[BenchFile]) -> str:
    """Returns the report as one page: no script, nothing fetched."""
    lines = bench_lines(files)
    title = bench_title(lines)
    top = html.header(
        eyebrow="cake-edge: measured on the machine itself",
        title=title,
        subtitle=bench_subtitle(lines),
        figures=bench_figures(lines),
    )
    parts = [top, _models(lines), _failures(lines), _notes(files, lines), _method(files, lines)]
    return html.page(title, "\n".join(part for part in parts if part))


def _models(lines: Sequence[Line]) -> str:
    above, several = dominators(lines), len({line.machine for line in lines}) > 1
    marks = [
        html.Mark(
            role=line.row.role if line.row.role in ("teacher", "student") else "",
            beaten=better is not None or line.row.failure is not None,
            below=_below(line, several, None if better is None else lines[better].short),
        )
        for line, better in zip(lines, above, strict=True)
    ]
    table = bench_table(lines).without("Machine", "Network", "Remark")
    latency = latency_table(lines)
    detail = f"<h3>Latency, ms a call</h3>\n{html.cells(latency)}" if latency.rows else ""
    return html.section("Models", html.cells(table, marks) + _pictures(lines) + detail)


def _pictures(lines: Sequence[Line]) -> str:
    """One picture a result."""
    drawn = []
    for index in sorted({line.file for line in lines}):
        own = [line for line in lines if line.file == index]
        beaten = any(better is not None for better in dominators(own))
        caption = f"A bubble's area is the {area_measure(own)}." + (html.DASHED if beaten else "")
        where = f"{own[0].machine}. " if len(own) < len(lines) else ""
        drawn.append(html.drawing(bench_pareto(own, f"pareto-{index + 1}"), where + caption))
    return html.columns(*drawn)


def _below(line: Line, several: bool, better: str | None) -> str:
    said = [line.machine if several else "", line.row.architecture or ""]
    if better is not None:
        said.append(f"dominated by {better}")
    if line.row.failure is not None:
        said.append("not measured")
    return ", ".join(filter(None, said))


def _failures(lines: Sequence[Line]) -> str:
    table = failure_table(lines)
    return html.section("Not measured", html.cells(table), css="notes") if table.rows else ""


def _notes(files: Sequence[BenchFile], lines: Sequence[Line]) -> str:
    said = bench_notes(files, lines)
    if not said:
        return ""
    items = "".join(f"<li>{escape(note)}</li>\n" for note in said)
    return html.section("Keep in mind", f"<ul>\n{items}</ul>", css="notes")


def _method(files: Sequence[BenchFile], lines: Sequence[Line]) -> str:
    parts = []
    for file in files:
        name = f"<h3>{escape(file.path.name)}</h3>\n" if len(files) > 1 else ""
        parts.append(name + html.definitions(bench_facts(file)))
    hashes = html.cells(file_table(lines))
    hidden = f"<details><summary>Files and hashes</summary>{hashes}</details>"
    return html.section("How it was measured", "\n".join(parts) + hidden)
