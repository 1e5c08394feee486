"""`cake-edge bench`: latency of one or several ONNX files, measured side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from cake_edge.cli.console import emit, progress_sink, table
from cake_edge.cli.device import host_from, host_options
from cake_edge.cli.options import (
    examples,
    json_option,
    seed_option,
    threads_option,
    verbosity_options,
)

__all__ = ["command"]


@click.command(
    "bench",
    epilog=examples(
        "cake-edge bench student.int8.ort-x86.onnx",
        "cake-edge bench runs/demo/artifacts/*.onnx --threads 1 --seconds 5",
        "cake-edge bench student.int8.ort-arm.onnx --host user@jetson --out board.json",
        "cake-edge bench teacher.fp32.onnx student.fp32.onnx --batch 8 --out latency.json --json",
    ),
)
@click.argument(
    "models", metavar="MODEL...", nargs=-1, required=True, type=click.Path(path_type=Path)
)
@threads_option
@click.option(
    "--batch", type=click.IntRange(min=1), default=1, show_default=True, help="Images a call."
)
@click.option(
    "--seconds",
    type=click.FloatRange(min=0, min_open=True, max=3600),
    default=3.0,
    show_default=True,
    help="Least time spent on each model, warm-up aside.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="JSON file for the result with every raw sample; a new one.",
)
@click.option(
    "--force",
    is_flag=True,
    help="Time files made for another machine too, though it says nothing of that machine.",
)
@click.option(
    "--runtime",
    type=click.Choice(["ort", "tensorrt"]),
    default="ort",
    show_default=True,
    help="ONNX Runtime on the processor, or TensorRT on the GPU.",
)
@click.option(
    "--energy",
    type=click.FloatRange(min=0, max=3600),
    default=10.0,
    show_default=True,
    help="Seconds spent on each model's energy, where the device has power sensors.",
)
@host_options
@seed_option
@json_option
@verbosity_options
def command(
    models: tuple[Path, ...],
    threads: int,
    batch: int,
    seconds: float,
    out: Path | None,
    force: bool,
    runtime: str,
    energy: float,
    host: str | None,
    python: str,
    ssh_config: Path | None,
    seed: int,
    as_json: bool,
) -> None:
    """Measures latency and energy, all models taking turns on the same noisy machine.

    The speed-up compares each model with the first one, round by round, with a 95 % interval.
    Input is random: a network's time does not depend on what it sees. A file whose target does
    not run on this machine is listed and not timed. With --host all of it happens on another
    machine, which needs Python, numpy and the runtime, and keeps nothing.
    """
    from cake_edge.provenance import refuse_existing, write_json
    from exporters.remote import BenchOptions, run_remote
    from exporters.remote.measure import measure_here

    if out is not None:
        refuse_existing(out)
    options = BenchOptions(
        runtime=runtime, threads=threads, batch=batch, seconds=seconds, energy_seconds=energy,
        seed=seed, force=force,
    )  # fmt: skip
    board = host_from(host, python, ssh_config)
    with progress_sink() as progress:
        if board is None:
            measured = measure_here(models, options, progress)
        else:
            measured = run_remote(board, models, options, progress)
    if out is not None:
        write_json(out, measured)
    rows = [{k: v for k, v in row.items() if k != "samples_ms"} for row in measured["models"]]
    found = {**measured, "models": rows}
    emit(found, as_json, lambda: _show(found, out))


def _show(found: dict[str, Any], out: Path | None) -> None:
    from exporters.report.words import size

    powered = any(model["energy"] for model in found["models"])
    energy = ("mJ above idle",) if powered else ()
    header = ("model", "size", "p50 ms", "p90", "p95", "p99", "images/s", "speed-up", *energy, "")
    rows = []
    for model in found["models"]:
        latency, ratio = model["latency_ms"], model["speedup"]
        if latency is None:
            rows.append(
                (model["path"], size(model["bytes"]), *[""] * (len(header) - 3), "not timed")
            )
            continue
        p99 = f"{latency['p99']:.3f}{'' if latency['p99_reliable'] else ' *'}"
        rows.append(
            (
                model["path"],
                size(model["bytes"]),
                *(f"{latency[name]:.3f}" for name in ("p50", "p90", "p95")),
                p99,
                f"{latency['images_per_second']:,.0f}",
                f"{ratio['estimate']:.2f}x [{ratio['low']:.2f}, {ratio['high']:.2f}]"
                if ratio
                else "",
                *((_millijoules(model["energy"]),) if powered else ()),
                "unstable" if latency["unstable"] else "",
            )
        )
    click.echo(table(header, rows))
    timed = [model for model in found["models"] if model["latency_ms"] is not None]
    if any(not model["latency_ms"]["p99_reliable"] for model in timed):
        click.echo("* fewer than ten calls were slower: an example, not a bound")
    for model in found["models"]:
        if model["foreign"] is not None:
            forced = model["latency_ms"] is not None
            said = "the time says nothing of its target" if forced else "not timed"
            click.echo(f"Note: {model['path']} was {model['foreign']}: {said}.")
    rails = {model["energy"]["rail"] for model in found["models"] if model["energy"]}
    if rails:
        click.echo(f"Energy an inference, measured at {', '.join(sorted(rails))}.")
    for warning in (*found["environment"]["warnings"], *found["advice"]):
        click.echo(f"Note: {warning}.")
    if out is not None:
        click.echo(f"Every sample is in {out}")


def _millijoules(energy: dict[str, Any] | None) -> str:
    if energy is None or energy["millijoules_above_idle"] is None:
        return ""
    doubt = " ?" if energy["doubts"] else ""
    return f"{energy['millijoules_above_idle']:.2f}{doubt}"
