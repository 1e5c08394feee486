"""A report as one HTML file: no script, nothing fetched, pictures inside."""

from __future__ import annotations

import base64
import struct
from html import escape
from pathlib import Path

from cake_edge.errors import ArtifactError
from exporters.report import plots, words
from exporters.report.html_parts import (
    DASHED,
    Mark,
    cells,
    columns,
    definitions,
    drawing,
    header,
    page,
    section,
)
from exporters.report.int8 import int8_advice, int8_facts, int8_table
from exporters.report.notes import notes
from exporters.report.pareto import dominators
from exporters.report.schema import Picture, Report
from exporters.report.story import (
    facts,
    file_table,
    headline,
    latency_table,
    model_table,
    remark,
    subtitle,
    title,
)
from exporters.report.summaries import cost_facts, distill_facts, pool_facts

__all__ = ["to_html"]

PNG = b"\x89PNG\r\n\x1a\n"
SMALL = 320
"""A picture narrower than this is enlarged with its pixels kept square."""


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
    return page(title(report), body)


def _header(report: Report) -> str:
    return header(
        eyebrow="cake-edge: compressed without its training data",
        title=title(report),
        subtitle=subtitle(report),
        figures=headline(report),
    )


def _models(report: Report) -> str:
    models = report["models"]
    marks = [
        Mark(
            role=model["role"] if model["role"] in ("teacher", "student") else "",
            beaten=better is not None,
            below=", ".join(filter(None, (model.get("architecture"), remark(models, better)))),
        )
        for model, better in zip(models, dominators(models), strict=True)
    ]
    table = model_table(report).without("Network", "Remark")
    pictures = columns(
        drawing(
            plots.pareto(models),
            "A bubble's area is the size of the file."
            + (DASHED if any(mark.beaten for mark in marks) else ""),
        ),
        drawing(plots.latency_bars(models), "The bar ends at the median, the line at p99."),
    )
    latency = latency_table(report)
    detail = f"<h3>Latency, ms a call</h3>\n{cells(latency)}" if latency.rows else ""
    return section("Models", cells(table, marks) + pictures + detail)


def _notes(report: Report) -> str:
    said = notes(report)
    if not said:
        return ""
    items = "".join(f"<li>{escape(note)}</li>\n" for note in said)
    return section("Keep in mind", f"<ul>\n{items}</ul>", css="notes")


def _synthetic(report: Report, folder: Path) -> str:
    pictures = "".join(_picture(picture, folder) for picture in report["images"])
    samples = f'<div class="samples">{pictures}</div>\n' if pictures else ""
    chart = drawing(
        plots.class_histogram(report.get("pool", {})), "Images a class, by the teacher's verdict."
    )
    content = columns(samples, definitions(pool_facts(report)) + chart)
    return section("Synthetic images", content) if content else ""


def _training(report: Report) -> str:
    curve = plots.loss_curve(report.get("distill", {}).get("loss", []))
    chart = drawing(curve, "Loss against the teacher while the student trained.")
    content = columns(chart, definitions(distill_facts(report)))
    return section("Training", content) if content else ""


def _int8(report: Report) -> str:
    found = report.get("quantize")
    if not found:
        return ""
    parts = [cells(int8_table(report))]
    for target, about in found.items():
        advice = "".join(f"<li>{escape(line)}</li>\n" for line in int8_advice(about))
        listed = f'<ul class="advice">\n{advice}</ul>\n' if advice else ""
        opened = " open" if len(found) == 1 or about.get("verdict") == "float" else ""
        parts.append(
            f"<details{opened}><summary>{escape(target)}</summary>\n"
            f"{definitions(int8_facts(about))}{listed}</details>\n"
        )
    return section("INT8 for each target", "".join(parts))


def _stages(report: Report) -> str:
    stages = report["stages"]
    earlier = any(stage["skipped"] for stage in stages)
    caption = "Wall time and peak memory." + (
        " Dashed: found from an earlier run." if earlier else ""
    )
    chart = drawing(plots.stage_costs(stages), caption)
    content = columns(chart, definitions(cost_facts(report)))
    return section("What each stage cost", content) if content else ""


def _real_data(report: Report) -> str:
    said = report["data_free"]
    items = "".join(
        f"<li>{escape(read['stage'])}: {escape(read['what'])}, "
        f"{words.count(read['images'])} images</li>\n"
        for read in said["reads"]
    )
    listed = f"<ul>\n{items}</ul>" if items else ""
    return section("Real data", f"<p>{escape(said['statement'])}</p>\n{listed}")


def _method(report: Report) -> str:
    files = cells(file_table(report))
    hidden = f"<details><summary>Files and hashes</summary>{files}</details>"
    return section("How it was measured", f"{definitions(facts(report))}\n{hidden}")


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
