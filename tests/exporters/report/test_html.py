"""Golden files are rewritten with UPDATE_GOLDEN=1 in the environment; read the difference."""

from __future__ import annotations

import os
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from cake_edge.errors import ArtifactError
from exporters.report.html import to_html
from exporters.report.style import STYLE

GOLDEN = Path(__file__).parent / "golden"
VOID = {"meta", "img", "circle", "rect", "line", "polyline"}


class Outline(HTMLParser):
    """Checks that every element is closed, and gathers what the page refers to."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.tags: set[str] = set()
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        found = dict(attrs)
        if found.get("id"):
            self.ids.append(str(found["id"]))
        self.links += [str(found[name]) for name in ("src", "href", "data") if name in found]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert tag in VOID or self.open.pop() == tag


def outline(page: str) -> Outline:
    parser = Outline()
    parser.feed(page)
    parser.close()
    assert parser.open == []
    return parser


def test_html_is_as_agreed(report: Any, folder: Path) -> None:
    page = to_html(report, folder).replace(STYLE, "")
    page = re.sub(r"(?<=base64,)[^\"]+", "...", page)
    path = GOLDEN / "full.html"
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_text(page, encoding="utf-8")
    assert page == path.read_text(encoding="utf-8")


def test_the_page_is_one_file_without_script_or_links(report: Any, folder: Path) -> None:
    page = to_html(report, folder)
    found = outline(page)
    assert "script" not in found.tags
    assert "link" not in found.tags
    assert all(link.startswith("data:image/png;base64,") for link in found.links)
    assert len(found.links) == 1
    assert "url(" not in page
    assert "@import" not in page
    assert len(found.ids) == len(set(found.ids)) > 0


def test_a_report_with_nothing_measured_still_says_so(report: Any, folder: Path) -> None:
    for model in report["models"]:
        model.update(top1=None, agreement=None, latency_ms=None, n=None, interval95=None)
    for name in ("pool", "distill", "quantize"):
        del report[name]
    report.update(images=[], stages=[])
    page = to_html(report, folder)
    outline(page)
    assert "not measured: no evaluation data was given" in page
    assert "<svg" not in page


def test_what_a_user_wrote_is_escaped_everywhere(report: Any, folder: Path) -> None:
    evil = '<script>alert("x")</script>&\''

    def poison(value: Any) -> Any:
        if isinstance(value, str):
            return evil
        if isinstance(value, list):
            return [poison(item) for item in value]
        if isinstance(value, dict):
            return {
                key: item if key in ("file", "path") else poison(item)
                for key, item in value.items()
            }
        return value

    page = to_html(poison(report), folder)
    assert "<script" not in page
    assert "script" not in outline(page).tags
    assert "&lt;script&gt;" in page


def test_a_missing_picture_is_named(report: Any, folder: Path) -> None:
    (folder / "pool" / "preview.png").unlink()
    with pytest.raises(ArtifactError, match=r"preview.png cannot be read"):
        to_html(report, folder)


def test_a_picture_that_is_no_png_is_refused(report: Any, folder: Path) -> None:
    (folder / "pool" / "preview.png").write_bytes(b"GIF89a")
    with pytest.raises(ArtifactError, match="not a PNG"):
        to_html(report, folder)
