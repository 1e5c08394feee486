"""`cake-edge report`: draws the pages of a run anew from its report.json."""

from __future__ import annotations

from pathlib import Path

import click

from cake_edge.cli.console import emit
from cake_edge.cli.options import examples, json_option, verbosity_options

__all__ = ["command"]


@click.command(
    "report",
    epilog=examples("cake-edge report runs/demo", "cake-edge report runs/demo --json"),
)
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@json_option
@verbosity_options
def command(folder: Path, as_json: bool) -> None:
    """Draws report.md and report.html of a run from its report.json, and says where they are.

    Nothing is measured again. The HTML file holds its pictures and opens anywhere.
    """
    from exporters.report import load_report, render
    from exporters.report.story import title

    markdown, page = render(folder)
    found = {
        "title": title(load_report(folder)),
        "json": str(folder / "report.json"),
        "markdown": str(markdown),
        "html": str(page),
    }
    emit(found, as_json)
