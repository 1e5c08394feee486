"""The pieces that the HTML pages are made of; every text is escaped here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from exporters.report.story import Figure, Table
from exporters.report.style import STYLE

__all__ = [
    "DASHED",
    "Mark",
    "cells",
    "columns",
    "definitions",
    "drawing",
    "header",
    "page",
    "section",
]


DASHED = " Dashed: dominated."
"""Of a caption, where one is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """What a table's row shows beside its cells."""

    role: str = ""
    beaten: bool = False
    below: str = ""


def page(title: str, body: str) -> str:
    """Returns the whole page: no script, nothing fetched."""
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n"
        f"<body>\n<main>\n{body}\n</main>\n</body>\n</html>\n"
    )


def header(*, eyebrow: str, title: str, subtitle: str, figures: Sequence[Figure]) -> str:
    """The top of a page, with the headline's numbers as tiles."""
    drawn = "".join(_figure(figure) for figure in figures)
    tiles = f'<div class="figures">\n{drawn}</div>\n' if drawn else ""
    return (
        f'<header>\n<p class="eyebrow">{escape(eyebrow)}</p>\n'
        f"<h1>{escape(title)}</h1>\n"
        f'<p class="subtitle">{escape(subtitle)}</p>\n{tiles}</header>'
    )


def section(name: str, content: str, css: str = "") -> str:
    """A card of the page under its heading."""
    attribute = f' class="{css}"' if css else ""
    return f"<section{attribute}>\n<h2>{escape(name)}</h2>\n{content}\n</section>"


def columns(*parts: str) -> str:
    """Sets what there is side by side, or alone."""
    kept = [part for part in parts if part]
    if len(kept) < 2:
        return "".join(kept)
    return f'<div class="two">{"".join(f"<div>{part}</div>" for part in kept)}</div>\n'


def drawing(svg: str | None, caption: str) -> str:
    """A picture with its caption; empty where there is no picture."""
    if svg is None:
        return ""
    return f"<figure>{svg}<figcaption>{escape(caption)}</figcaption></figure>\n"


def definitions(rows: list[tuple[str, str]]) -> str:
    """Names and values; empty where there are none."""
    if not rows:
        return ""
    items = "".join(
        f"<dt>{escape(name)}</dt><dd>{_code(value) if name == 'Command' else escape(value)}</dd>\n"
        for name, value in rows
    )
    return f"<dl>\n{items}</dl>\n"


def _code(value: str) -> str:
    return f"<code>{escape(value)}</code>"


def cells(table: Table, marks: Sequence[Mark] | None = None) -> str:
    """Draws a table; on a narrow screen each row becomes a card, its cells named by `data-name`."""
    numbers = table.numbers()
    head = "".join(
        f'<th scope="col"{_number(numeric)}>{escape(name)}</th>'
        for name, numeric in zip(table.headers, numbers, strict=True)
    )
    body = []
    for row, mark in zip(table.rows, marks or [Mark()] * len(table.rows), strict=True):
        rest = "".join(
            f'<td data-name="{escape(name)}"{_number(numeric)}>{escape(cell)}</td>'
            for name, numeric, cell in list(zip(table.headers, numbers, row, strict=True))[1:]
        )
        dot = f'<span class="dot {mark.role}"></span>' if mark.role else ""
        below = f"<small>{escape(mark.below)}</small>" if mark.below else ""
        faded = ' class="beaten"' if mark.beaten else ""
        body.append(f'<tr{faded}><th scope="row">{dot}{escape(row[0])}{below}</th>{rest}</tr>\n')
    return f"<table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{''.join(body)}</tbody>\n</table>\n"


def _number(numeric: bool) -> str:
    return ' class="number"' if numeric else ""


def _figure(figure: Figure) -> str:
    return (
        f'<div class="figure{" bad" if figure.bad else ""}"><b>{escape(figure.value)}</b>'
        f"<span>{escape(figure.label)}</span><small>{escape(figure.detail)}</small></div>\n"
    )
