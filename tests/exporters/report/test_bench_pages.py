"""Golden files are rewritten with UPDATE_GOLDEN=1 in the environment; read the difference."""

from __future__ import annotations

import json
import os
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from reference.bench_results import bench_result, bench_row, calls, save

from exporters.latency.bench_file import BenchFile, read_bench_file
from exporters.report.bench_csv import bench_to_csv
from exporters.report.bench_lines import bench_lines
from exporters.report.bench_pages import bench_to_html, bench_to_markdown, write_bench_report
from exporters.report.style import STYLE

GOLDEN = Path(__file__).parent / "golden" / "bench"
VOID = {"meta", "circle", "rect", "line"}


@pytest.fixture
def files() -> list[BenchFile]:
    """A desktop where two models failed, and a board that measures energy."""
    return [read_bench_file(GOLDEN / f"{name}.json") for name in ("desktop", "orin")]


def agreed(name: str, text: str) -> None:
    path = GOLDEN / name
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_text(text, encoding="utf-8", newline="\n")
    assert text == path.read_text(encoding="utf-8")


def test_markdown_is_as_agreed(files: list[BenchFile]) -> None:
    agreed("bench.md", bench_to_markdown(files))


def test_csv_is_as_agreed(files: list[BenchFile]) -> None:
    agreed("bench.csv", bench_to_csv(files, bench_lines(files)))


def test_html_is_as_agreed(files: list[BenchFile]) -> None:
    agreed("bench.html", bench_to_html(files).replace(STYLE, ""))


class Outline(HTMLParser):
    """Checks that every element is closed; gathers ids, tags and what the page refers to."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.tags: set[str] = set()
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.tags.add(tag)
        self.ids += [str(found["id"])] if "id" in found else []
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


def test_the_page_is_one_file_without_script_or_links(files: list[BenchFile]) -> None:
    page = bench_to_html(files)
    found = outline(page)
    assert found.links == []
    assert not {"script", "link", "img"} & found.tags
    assert len(found.ids) == len(set(found.ids)) == 4
    assert "prefers-color-scheme: dark" in page
    assert "width=device-width" in page
    for word in ("url(", "@import", "http://", "https://"):
        assert word not in page


def test_failures_are_told_with_their_reason(files: list[BenchFile]) -> None:
    for text in (bench_to_html(files), bench_to_markdown(files)):
        assert "7 models measured, 2 not" in text
        assert "ended by signal 11" in text
        assert "made for tensorrt, which does not run on this machine" in text


def test_energy_is_shown_with_its_rail_only_where_it_was_measured(files: list[BenchFile]) -> None:
    assert "VDD_IN" in bench_to_html(files)
    alone = bench_to_html(files[:1])
    assert "VDD_IN" not in alone
    assert "Energy" not in alone


def test_what_a_user_wrote_is_escaped_everywhere(tmp_path: Path) -> None:
    evil = '<script>alert("x")</script>&\'|'

    def poison(value: Any) -> Any:
        if isinstance(value, str):
            return evil
        if isinstance(value, list):
            return [poison(item) for item in value]
        if isinstance(value, dict):
            return {key: poison(item) for key, item in value.items()}
        return value

    result = json.loads((GOLDEN / "desktop.json").read_text(encoding="utf-8"))
    file = read_bench_file(save(tmp_path / "x.json", poison(result)))
    page = bench_to_html([file])
    assert "script" not in outline(page).tags
    assert "&lt;script&gt;" in page
    assert re.search(r"(?<!\\)<script", bench_to_markdown([file])) is None


def test_one_model_without_accuracy_is_a_page_without_picture(tmp_path: Path) -> None:
    result = bench_result(bench_row(calls(1.0)))
    page = bench_to_html([read_bench_file(save(tmp_path / "x.json", result))])
    outline(page)
    assert "1 model measured" in page
    assert "<svg" not in page
    assert "Accuracy is not known here" in page


def test_three_files_are_written_at_once(files: list[BenchFile], tmp_path: Path) -> None:
    paths = write_bench_report(files, tmp_path / "new")
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == [
        "bench.csv", "bench.html", "bench.md",
    ]  # fmt: skip
    assert paths["md"].read_text(encoding="utf-8") == bench_to_markdown(files)
