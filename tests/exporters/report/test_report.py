from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cake_edge.errors import ArtifactError
from exporters.report import load_report, render, write_report

PAGES = ("report.json", "report.md", "report.html")


def test_a_report_is_written_in_three_forms_and_read_back(
    report: dict[str, Any], folder: Path
) -> None:
    write_report(folder, report)
    assert load_report(folder) == report
    assert {path.name for path in folder.iterdir()} == {*PAGES, "pool"}


def test_rendering_again_gives_the_same_bytes(report: dict[str, Any], folder: Path) -> None:
    write_report(folder, report)
    before = {name: (folder / name).read_bytes() for name in PAGES}
    (folder / "report.html").unlink()
    (folder / "report.md").write_text("old", encoding="utf-8")
    assert render(folder) == [folder / "report.md", folder / "report.html"]
    assert {name: (folder / name).read_bytes() for name in PAGES} == before


def test_a_folder_can_be_moved(report: dict[str, Any], folder: Path, tmp_path: Path) -> None:
    write_report(folder, report)
    moved = folder.rename(tmp_path / "elsewhere")
    assert render(moved)[1].read_bytes() == (moved / "report.html").read_bytes()


def test_a_report_that_cannot_be_drawn_changes_nothing(
    report: dict[str, Any], folder: Path
) -> None:
    write_report(folder, report)
    before = {name: (folder / name).read_bytes() for name in PAGES}
    report["images"][0]["file"] = "absent.png"
    with pytest.raises(ArtifactError, match=r"absent.png"):
        write_report(folder, report)
    assert {name: (folder / name).read_bytes() for name in PAGES} == before


def test_an_invalid_report_is_not_written(report: dict[str, Any], folder: Path) -> None:
    report["models"][0]["bytes"] = "many"
    with pytest.raises(ArtifactError, match=r"models\[0\].bytes is 'many'"):
        write_report(folder, report)
    assert not (folder / "report.json").exists()


def test_a_folder_without_a_report_is_named(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"holds no report.json"):
        load_report(tmp_path)


def test_a_damaged_report_is_named(report: dict[str, Any], folder: Path) -> None:
    del report["environment"]
    (folder / "report.json").write_text(json.dumps(report), encoding="utf-8")
    with pytest.raises(ArtifactError, match=r"report.json is not a report: environment is missing"):
        render(folder)
