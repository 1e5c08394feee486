"""`cake-edge compare`: whether new measurements are worse than old ones, for people and for CI."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from cake_edge.cli.console import emit, table
from cake_edge.cli.options import examples, json_option, seed_option, verbosity_options
from cake_edge.errors import ArtifactError, UsageMistake

if TYPE_CHECKING:
    from exporters.latency.bench_file import BenchFile
    from exporters.latency.compare import Comparison

__all__ = ["command"]


@click.command(
    "compare",
    epilog=examples(
        "cake-edge compare base.json new.json",
        "cake-edge compare base.json new.json --fail-on p50:+5%,bytes:+0%,top1:-0.5",
        "cake-edge compare base.json new.json --markdown",
    ),
)
@click.argument("base", metavar="BASE.json", type=click.Path(path_type=Path))
@click.argument("new", metavar="NEW.json", type=click.Path(path_type=Path))
@click.option(
    "--fail-on",
    "limits",
    default="p50:+5%",
    show_default=True,
    metavar="MEASURE:AMOUNT,...",
    help="How far measures may get worse: p50, p90, p95, p99, mean, bytes, energy may grow, "
    "top1, agreement may fall; by percent, or by the measure's own unit.",
)
@click.option(
    "--allow-different",
    is_flag=True,
    help="Compare although machines or settings differ; the differences are listed.",
)
@click.option("--strict", is_flag=True, help="Exit with 1 too where noise leaves a limit unjudged.")
@click.option("--markdown", is_flag=True, help="Print Markdown, for a pull request's comment.")
@seed_option
@json_option
@verbosity_options
@click.pass_context
def command(
    ctx: click.Context,
    base: Path,
    new: Path,
    limits: str,
    allow_different: bool,
    strict: bool,
    markdown: bool,
    seed: int,
    as_json: bool,
) -> None:
    """Compares two results of `bench --out`, model by model, and fails on a regression.

    A latency is worse when its change exceeds the limit and the 95 % interval of the change, from
    resampled rounds, lies beyond zero. Where other work disturbed the machine, that is asked of the
    fastest tenth of calls, which such work spares; where it does not, the limit is too noisy to
    judge. Models are matched by path, else by file name, else by role, precision and target. Sizes
    and accuracies are also taken from a report.json.

    Exit codes: 0 no regression, 1 a regression, 2 cannot compare.
    """
    from exporters.latency.compare import compare_files
    from exporters.latency.limits import parse_limits
    from exporters.report.bench_change import changes_to_markdown

    if markdown and as_json:
        raise UsageMistake("--json and --markdown are both given; choose one form of output")
    wanted = parse_limits(limits)
    found = compare_files(
        _read(base), _read(new), wanted, allow_different=allow_different, seed=seed
    )
    if markdown:
        click.echo(changes_to_markdown(found), nl=False)
    else:
        emit(found.to_dict(), as_json, lambda: _show(found))
    if found.worse or (strict and found.count("noisy")):
        ctx.exit(1)


def _read(path: Path) -> BenchFile:
    """Reads a result; one that cannot be read leaves nothing to compare: exit code 2."""
    from exporters.latency.bench_file import read_bench_file
    from exporters.latency.compare import CannotCompare

    try:
        return read_bench_file(path)
    except ArtifactError as error:
        raise CannotCompare(str(error)) from error


def _show(found: Comparison) -> None:
    from exporters.report.bench_change import change_notes, change_table, change_title

    cells = change_table(found)
    click.echo(table(cells.headers, cells.rows))
    for note in change_notes(found):
        click.echo(f"Note: {note}.")
    click.echo(change_title(found).capitalize() + ".")
