"""Reports: JSON in, Markdown and one self-contained HTML file out."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cake_edge.errors import ArtifactError
from cake_edge.provenance import atomic_path, read_json, write_json
from exporters.report.html import to_html
from exporters.report.markdown import to_markdown
from exporters.report.schema import SCHEMA_VERSION, Report, build_report, validate

__all__ = [
    "SCHEMA_VERSION",
    "build_report",
    "load_report",
    "render",
    "validate",
    "write_report",
]


def write_report(folder: Path, report: Mapping[str, Any]) -> None:
    """Writes `report.json`, `report.md` and `report.html` into a run's folder.

    Everything is rendered before anything is written, so a report that cannot be drawn leaves
    what was there.

    Raises:
        ArtifactError: the report does not keep its format, or a picture is missing.
    """
    checked = validate(report)
    pages = _pages(folder, checked)
    write_json(folder / "report.json", report)
    _write(pages)


def load_report(folder: Path) -> Report:
    """Reads and checks the `report.json` of a run's folder.

    Raises:
        ArtifactError: it is missing or does not keep its format.
    """
    path = folder / "report.json"
    if not path.is_file():
        raise ArtifactError(f"{folder} holds no report.json: name the folder of a finished run")
    try:
        return validate(read_json(path))
    except ArtifactError as error:
        raise ArtifactError(f"{path} is not a report: {error}") from error


def render(folder: Path) -> list[Path]:
    """Draws `report.md` and `report.html` anew from `report.json`; returns their paths.

    Raises:
        ArtifactError: the report is missing or damaged, or a picture is.
    """
    pages = _pages(folder, load_report(folder))
    _write(pages)
    return list(pages)


def _pages(folder: Path, report: Report) -> dict[Path, str]:
    return {
        folder / "report.md": to_markdown(report),
        folder / "report.html": to_html(report, folder),
    }


def _write(pages: Mapping[Path, str]) -> None:
    for path, text in pages.items():
        with atomic_path(path) as temporary:
            temporary.write_text(text, encoding="utf-8")
