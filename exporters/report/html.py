"""A report as one HTML file: no script, nothing fetched, pictures inside."""

from __future__ import annotations

import base64
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from cake_edge.errors import ArtifactError
from exporters.report import plots, words
from exporters.report.int8 import int8_advice, int8_facts, int8_table
from exporters.report.notes import notes
from exporters.report.pareto import dominators
from exporters.report.schema import Picture, Report
from exporters.report.story import (
    Figure,
    Table,
    facts,
    file_table,
    headline,
    latency_table,
    model_table,
    remark,
    subtitle,
    title,
)
from exporters.report.style import STYLE
from exporters.report.summaries import cost_facts, distill_facts, pool_facts

__all__ = ["to_html"]

PNG = b"\x89PNG\r\n\x1a\n"
SMALL = 320
"""A picture narrower than this is enlarged with its pixels kept square."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Mark:
    """What a row of the models' table shows beside its cells."""

    role: str = ""
    beaten: bool = False
    below: str = ""


def to_html(report: Report, folder: Path) -> str:
    """Returns the page; the pictures are read from `folder`.

    Raises:
        ArtifactError: a picture is missing or is not PNG.
    """
    body = "\n".join(
        part
        for part in (
            _header(report),
            _models(report),
            _notes(report),
            _synthetic(report, folder),
            _training(report),
            _int8(report),
            _stages(report),
            _real_data(report),
            _method(report),
        )
        if part
    )
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title(report))}</title>\n<style>{STYLE}</style>\n</head>\n"
        f"<body>\n<main>\n{body}\n</main>\n</body>\n</html>\n"
    )


def _header(report: Report) -> str:
    figures = "".join(_figure(figure) for figure in headline(report))
    tiles = f'<div class="figures">\n{figures}</div>\n' if figures else ""
    return (
        f'<header>\n<p class="eyebrow">cake-edge: compressed without its training data</p>\n'
        f"<h1>{escape(title(report))}</h1>\n"
        f'<p class="subtitle">{escape(subtitle(report))}</p>\n{tiles}</header>'
    )


def _figure(figure: Figure) -> str:
    return (
        f'<div class="figure{" bad" if figure.bad else ""}"><b>{escape(figure.value)}</b>'
        f"<span>{escape(figure.label)}</span><small>{escape(figure.detail)}</small></div>\n"
    )


def _models(report: Report) -> str:
    models = report["models"]
    marks = [
        _Mark(
            role=model["role"] if model["role"] in ("teacher", "student") else "",
            beaten=better is not None,
            below=", ".join(filter(None, (model.get("architecture"), remark(models, better)))),
        )
        for model, better in zip(models, dominators(models), strict=True)
    ]
    table = model_table(report).without("Network", "Remark")
    pictures = _columns(
        _chart(plots.pareto(models), "A bubble's area is the size of the file. Dashed: dominated."),
        _chart(plots.latency_bars(models), "The bar ends at the median, the line at p99."),
    )
    latency = latency_table(report)
    detail = f"<h3>Latency, ms a call</h3>\n{_table(latency)}" if latency.rows else ""
    return _section("Models", _table(table, marks) + pictures + detail)


def _notes(report: Report) -> str:
    said = notes(report)
    if not said:
        return ""
    items = "".join(f"<li>{escape(note)}</li>\n" for note in said)
    return _section("Keep in mind", f"<ul>\n{items}</ul>", css="notes")


def _synthetic(report: Report, folder: Path) -> str:
    pictures = "".join(_picture(picture, folder) for picture in report["images"])
    samples = f'<div class="samples">{pictures}</div>\n' if pictures else ""
    chart = _chart(
        plots.class_histogram(report.get("pool", {})), "Images a class, by the teacher's verdict."
    )
    content = _columns(samples, _list(pool_facts(report)) + chart)
    return _section("Synthetic images", content) if content else ""


def _training(report: Report) -> str:
    curve = plots.loss_curve(report.get("distill", {}).get("loss", []))
    chart = _chart(curve, "Loss against the teacher while the student trained.")
    content = _columns(chart, _list(distill_facts(report)))
    return _section("Training", content) if content else ""


def _int8(report: Report) -> str:
    found = report.get("quantize")
    if not found:
        return ""
    parts = [_table(int8_table(report))]
    for target, about in found.items():
        advice = "".join(f"<li>{escape(line)}</li>\n" for line in int8_advice(about))
        listed = f'<ul class="advice">\n{advice}</ul>\n' if advice else ""
        opened = " open" if len(found) == 1 or about.get("verdict") == "float" else ""
        parts.append(
            f"<details{opened}><summary>{escape(target)}</summary>\n"
            f"{_list(int8_facts(about))}{listed}</details>\n"
        )
    return _section("INT8 for each target", "".join(parts))


def _stages(report: Report) -> str:
    chart = _chart(
        plots.stage_costs(report["stages"]),
        "Wall time and peak memory. Dashed: found from an earlier run.",
    )
    content = _columns(chart, _list(cost_facts(report)))
    return _section("What each stage cost", content) if content else ""


def _real_data(report: Report) -> str:
    said = report["data_free"]
    items = "".join(
        f"<li>{escape(read['stage'])}: {escape(read['what'])}, "
        f"{words.count(read['images'])} images</li>\n"
        for read in said["reads"]
    )
    listed = f"<ul>\n{items}</ul>" if items else ""
    return _section("Real data", f"<p>{escape(said['statement'])}</p>\n{listed}")


def _method(report: Report) -> str:
    files = _table(file_table(report))
    return _section(
        "How it was measured",
        f"{_list(facts(report))}\n<details><summary>Files and hashes</summary>{files}</details>",
    )


def _section(name: str, content: str, css: str = "") -> str:
    attribute = f' class="{css}"' if css else ""
    return f"<section{attribute}>\n<h2>{escape(name)}</h2>\n{content}\n</section>"


def _columns(*parts: str) -> str:
    """Sets what there is side by side, or alone."""
    kept = [part for part in parts if part]
    if len(kept) < 2:
        return "".join(kept)
    return f'<div class="two">{"".join(f"<div>{part}</div>" for part in kept)}</div>\n'


def _chart(svg: str | None, caption: str) -> str:
    if svg is None:
        return ""
    return f"<figure>{svg}<figcaption>{escape(caption)}</figcaption></figure>\n"


def _list(rows: list[tuple[str, str]]) -> str:
    if not rows:
        return ""
    items = "".join(
        f"<dt>{escape(name)}</dt><dd>{_code(value) if name == 'Command' else escape(value)}</dd>\n"
        for name, value in rows
    )
    return f"<dl>\n{items}</dl>\n"


def _code(value: str) -> str:
    return f"<code>{escape(value)}</code>"


def _table(table: Table, marks: Sequence[_Mark] | None = None) -> str:
    """Draws a table; on a narrow screen each row becomes a card, its cells named by `data-name`."""
    numbers = table.numbers()
    head = "".join(
        f'<th scope="col"{_number(numeric)}>{escape(name)}</th>'
        for name, numeric in zip(table.headers, numbers, strict=True)
    )
    body = []
    for row, mark in zip(table.rows, marks or [_Mark()] * len(table.rows), strict=True):
        cells = "".join(
            f'<td data-name="{escape(name)}"{_number(numeric)}>{escape(cell)}</td>'
            for name, numeric, cell in list(zip(table.headers, numbers, row, strict=True))[1:]
        )
        dot = f'<span class="dot {mark.role}"></span>' if mark.role else ""
        below = f"<small>{escape(mark.below)}</small>" if mark.below else ""
        faded = ' class="beaten"' if mark.beaten else ""
        body.append(f'<tr{faded}><th scope="row">{dot}{escape(row[0])}{below}</th>{cells}</tr>\n')
    return f"<table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{''.join(body)}</tbody>\n</table>\n"


def _number(numeric: bool) -> str:
    return ' class="number"' if numeric else ""


def _picture(picture: Picture, folder: Path) -> str:
    path = folder / picture["file"]
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ArtifactError(
            f"the picture {path} cannot be read ({error.strerror}): restore it, or remove it from "
            "`images` in report.json"
        ) from error
    if content[:8] != PNG or len(content) < 24:
        raise ArtifactError(f"the picture {path} is not a PNG file; only PNG can be shown")
    width, height = struct.unpack(">II", content[16:24])
    small = ' class="small"' if width <= SMALL else ""
    name = escape(picture["title"])
    data = base64.b64encode(content).decode("ascii")
    return (
        f'<figure><img{small} width="{width}" height="{height}" alt="{name}" '
        f'src="data:image/png;base64,{data}"><figcaption>{name}</figcaption></figure>\n'
    )
