from __future__ import annotations

from html.parser import HTMLParser

import pytest

from exporters.report.html_parts import (
    Mark,
    cells,
    columns,
    definitions,
    drawing,
    header,
    page,
    section,
)
from exporters.report.story import Figure, Table

EVIL = '<script>alert("x")</script> & more'
TABLE = Table(headers=("Model", "Size"), rows=(("one", "1.5 MB"), ("two", "3 MB")))


class Tags(HTMLParser):
    """Tags that were opened, and those left open."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.seen: list[str] = []
        self.open: list[str] = []
        self.said = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.said += data


@pytest.mark.parametrize(
    "made",
    [
        page(EVIL, "<p>body</p>"),
        header(
            eyebrow=EVIL, title=EVIL, subtitle=EVIL,
            figures=[Figure(value=EVIL, label=EVIL, detail=EVIL, bad=True)],
        ),
        section(EVIL, "<p>content</p>"),
        drawing("<svg></svg>", EVIL),
        definitions([(EVIL, EVIL), ("Command", EVIL)]),
        cells(Table(headers=(EVIL, EVIL), rows=((EVIL, EVIL),)), [Mark(below=EVIL)]),
    ],
    ids=["page", "header", "section", "drawing", "definitions", "cells"],
)  # fmt: skip
def test_text_from_outside_is_text_in_every_part(made: str) -> None:
    tags = Tags(made)
    assert "script" not in tags.seen
    assert EVIL in tags.said
    assert tags.open == []


def test_a_page_fetches_and_runs_nothing() -> None:
    made = page("title", "<p>body</p>")
    assert made.startswith("<!doctype html>")
    assert not {"script", "link", "img", "iframe"} & set(Tags(made).seen)
    assert "http" not in made
    assert "@import" not in made


def test_a_header_without_figures_has_no_tiles() -> None:
    assert 'class="figures"' not in header(eyebrow="a", title="b", subtitle="c", figures=[])


@pytest.mark.parametrize(("bad", "css"), [(True, "figure bad"), (False, "figure")])
def test_a_figure_that_got_worse_is_marked(bad: bool, css: str) -> None:
    figure = Figure(value="2x", label="slower", detail="1 ms", bad=bad)
    made = header(eyebrow="a", title="b", subtitle="c", figures=[figure])
    assert f'<div class="{css}">' in made


def test_one_part_alone_needs_no_columns() -> None:
    assert columns("", "<p>one</p>") == "<p>one</p>"
    assert columns("", "") == ""
    assert Tags(columns("<p>one</p>", "<p>two</p>")).seen == ["div", "div", "p", "div", "p"]


def test_what_is_not_there_leaves_nothing() -> None:
    assert drawing(None, "caption") == ""
    assert definitions([]) == ""


def test_a_command_is_set_as_code_and_other_values_are_not() -> None:
    made = definitions([("Command", "cake-edge demo"), ("Seed", "3")])
    assert "<dd><code>cake-edge demo</code></dd>" in made
    assert "<dd>3</dd>" in made


def test_every_cell_knows_the_name_of_its_column() -> None:
    made = cells(TABLE)
    assert made.count('<td data-name="Size" class="number">') == 2
    assert made.count('<th scope="row">') == 2


def test_a_row_shows_its_mark() -> None:
    made = cells(TABLE, [Mark(role="teacher"), Mark(beaten=True, below="a file")])
    first, second = made.split("<tbody>")[1].split("</tr>")[:2]
    assert '<span class="dot teacher"></span>one' in first
    assert "beaten" not in first
    assert '<tr class="beaten">' in second
    assert "two<small>a file</small>" in second


def test_marks_of_other_rows_are_a_mistake() -> None:
    with pytest.raises(ValueError, match="shorter"):
        cells(TABLE, [Mark()])
