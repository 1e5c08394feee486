"""`cake-edge report`: draws the pages of a run, or of benchmarks, from their JSON."""

from __future__ import annotations

from pathlib import Path

import click

from cake_edge.cli.console import emit
from cake_edge.cli.options import examples, json_option, verbosity_options
from cake_edge.errors import UsageMistake

__all__ = ["command"]


@click.command(
    "report",
    epilog=examples(
        "cake-edge report runs/demo",
        "cake-edge report bench.json --out pages",
        "cake-edge report laptop.json orin.json --accuracy runs/demo/report.json --out pages",
    ),
)
@click.argument(
    "sources", metavar="DIR|BENCH.json...", nargs=-1, required=True, type=click.Path(path_type=Path)
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="Folder for bench.md, bench.csv and bench.html; those of a run go into its own.",
)
@click.option(
    "--accuracy",
    multiple=True,
    metavar="REPORT.json",
    type=click.Path(path_type=Path),
    help="A run's report.json that knows how accurate the files of a benchmark are; repeatable.",
)
@json_option
@verbosity_options
def command(
    sources: tuple[Path, ...], out: Path | None, accuracy: tuple[Path, ...], as_json: bool
) -> None:
    """Draws the pages of a run's folder anew, or those of results of `bench --out`.

    Nothing is measured again. The HTML file holds its pictures and opens anywhere.
    """
    benches = [source.suffix == ".json" for source in sources]
    if all(benches):
        if out is None:
            raise UsageMistake("--out is missing: name the folder for the pages of the benchmarks")
        emit(_bench_pages(sources, out, accuracy), as_json)
        return
    if len(sources) > 1:
        raise UsageMistake(
            f"{len(sources)} sources are given, and not all are .json files: give one run's "
            "folder, or one or several results of `bench --out`"
        )
    if out is not None or accuracy:
        raise UsageMistake(
            "--out and --accuracy are for benchmarks: a run knows its accuracy, and its pages go "
            "into its own folder"
        )
    emit(_run_pages(sources[0]), as_json)


def _run_pages(folder: Path) -> dict[str, str]:
    from exporters.report import load_report, render
    from exporters.report.story import title

    markdown, page = render(folder)
    return {
        "title": title(load_report(folder)),
        "json": str(folder / "report.json"),
        "markdown": str(markdown),
        "html": str(page),
    }


def _bench_pages(
    sources: tuple[Path, ...], out: Path, accuracy: tuple[Path, ...]
) -> dict[str, str]:
    from exporters.latency.bench_file import read_bench_file, with_accuracy
    from exporters.report.bench_lines import bench_lines
    from exporters.report.bench_pages import write_bench_report
    from exporters.report.bench_story import bench_title

    known = [read_bench_file(source) for source in accuracy]
    files = [with_accuracy(read_bench_file(source), known) for source in sources]
    paths = write_bench_report(files, out)
    return {
        "title": bench_title(bench_lines(files)),
        "markdown": str(paths["md"]),
        "csv": str(paths["csv"]),
        "html": str(paths["html"]),
    }
