"""`cake-edge bench`: latency of one or several ONNX files, measured side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cake_edge.cli.bench_options import SECTIONS, bench_options, find_input
from cake_edge.cli.bench_table import short_reason, show_plan, show_rows
from cake_edge.cli.console import emit, progress_sink
from cake_edge.cli.device import host_from, host_options
from cake_edge.cli.help_sections import SectionedCommand
from cake_edge.cli.options import examples, json_option, verbosity_options
from cake_edge.errors import ArtifactError, UsageMistake

if TYPE_CHECKING:
    from exporters.remote import BenchOptions, Host
    from exporters.remote.journal import Journal

__all__ = ["command"]


@click.command(
    "bench",
    cls=SectionedCommand,
    sections=SECTIONS,
    epilog=examples(
        "cake-edge bench student.int8.ort-x86.onnx",
        "cake-edge bench runs/demo/artifacts/*.onnx --seconds 5 --cold 5 --out latency.json",
        "cake-edge bench student.int8.ort-x86.onnx --threads 1,2 --sweep-batch",
        "cake-edge bench student.fp32.onnx --provider cuda --device-input --input photos",
        "cake-edge bench student.int8.ort-arm.onnx --host user@jetson --out board.json",
        "cake-edge bench teacher.fp32.onnx student.fp32.onnx --batch 8 --dry-run",
    ),
)
@click.argument(
    "models", metavar="MODEL...", nargs=-1, required=True, type=click.Path(path_type=Path)
)
@bench_options
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="JSON file for the result with every raw sample; a new one.",
)
@click.option(
    "--resume",
    is_flag=True,
    help="Take up the finished rows of a run that was ended before --out was written.",
)
@click.option("--dry-run", is_flag=True, help="Print what would be measured, and measure nothing.")
@click.option("--strict", is_flag=True, help="Exit with 1 too where a row is unstable.")
@host_options
@json_option
@verbosity_options
@click.pass_context
def command(
    ctx: click.Context,
    models: tuple[Path, ...],
    options: BenchOptions,
    out: Path | None,
    resume: bool,
    dry_run: bool,
    strict: bool,
    host: str | None,
    python: str,
    ssh_config: Path | None,
    as_json: bool,
) -> None:
    """Measures latency and energy of models that take turns on the same noisy machine.

    A row is a model, a number of threads and a batch. Each has a process of its own: one that
    crashes, hangs or runs out of memory costs its row, which says why. Speed-ups are against the
    first model, with a 95 % interval; what to doubt of a row stands below the table. A file made
    for another machine is listed and not timed. docs/benchmarking.md tells the rest.

    Exit codes: 0 all rows were measured, 1 at least one was not, 2 wrong usage.
    """
    board = host_from(host, python, ssh_config)
    name, brought = find_input(options.input)
    options = replace(options, input=name)
    if board is not None and brought is not None:
        raise UsageMistake(
            f"{name} stays here and --host measures there: give --input random, zeros or pixels, "
            "or leave --host out"
        )
    if dry_run:
        plan = _plan(models, options, board)
        emit(plan, as_json, lambda: show_plan(plan))
        return
    journal = _journal(models, options, out, board, resume)
    with progress_sink() as progress:
        if board is None:
            from exporters.remote.measure import measure_here

            measured = measure_here(models, options, progress, journal, brought)
        else:
            from exporters.remote import run_remote

            measured = run_remote(board, models, options, progress)
    if out is not None:
        from cake_edge.provenance import write_json

        write_json(out, measured)
    if journal is not None:
        journal.remove()
    rows = [{k: v for k, v in row.items() if k != "samples_ms"} for row in measured["models"]]
    found = {**measured, "models": rows}
    emit(found, as_json, lambda: show_rows(found, None if out is None else str(out)))
    if _complain(rows, strict):
        ctx.exit(1)


def _journal(
    models: Sequence[Path],
    options: BenchOptions,
    out: Path | None,
    board: Host | None,
    resume: bool,
) -> Journal | None:
    """Where finished rows are kept, once it is certain that the result can be written."""
    if resume and (out is None or board is not None):
        raise UsageMistake(
            "--resume takes up rows that lie beside --out, of a benchmark on this machine: "
            + ("give --out as before" if out is None else "leave it out with --host")
        )
    if out is None:
        return None
    from cake_edge.provenance import refuse_existing

    refuse_existing(out)
    if board is not None:
        return None
    from exporters.remote.journal import Journal

    _refuse_missing(models)
    journal = Journal(out, models, options, resume=resume)
    if resume:
        click.echo(f"finished rows taken up: {journal.rows}", err=True)
    return journal


def _plan(models: Sequence[Path], options: BenchOptions, board: Host | None) -> dict[str, Any]:
    """The rows, and roughly how long they take; of another machine without asking it."""
    from exporters.devices import find_rails

    _refuse_missing(models)
    powered = board is None and bool(find_rails().total)
    return {
        "rows": [
            {"path": str(path), "runtime": options.runtime, "threads": threads, "batch": batch}
            for path in models
            for threads in options.threads
            for batch in options.batches
        ],
        "sweep": options.sweep_batch,
        "estimated_seconds": options.usual_seconds(len(models), powered=powered),
    }


def _refuse_missing(models: Sequence[Path]) -> None:
    for path in models:
        if not path.is_file():
            raise ArtifactError(f"{path} does not exist or is not a file; name a model file")


def _complain(rows: Sequence[dict[str, Any]], strict: bool) -> bool:
    """Says on stderr what of the rows is not as it should be; whether anything is."""
    failed = [f"{row['path']}: {clause}" for row in rows if (clause := short_reason(row))]
    if failed:
        click.echo(
            f"error: {len(failed)} of {len(rows)} rows failed: {'; '.join(failed)}", err=True
        )
    shaky = [row["path"] for row in rows if row["latency_ms"] and row["latency_ms"]["unstable"]]
    if strict and shaky:
        click.echo(
            f"error: the machine changed while it measured {', '.join(shaky)} (--strict): measure "
            "for longer, or where nothing else runs",
            err=True,
        )
    return bool(failed or (strict and shaky))
