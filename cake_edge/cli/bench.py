"""`cake-edge bench`: latency of one or several ONNX files, measured side by side."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cake_edge.cli.console import emit, progress_sink, table
from cake_edge.cli.options import (
    examples,
    json_option,
    seed_option,
    threads_option,
    verbosity_options,
)
from cake_edge.errors import ArtifactError

if TYPE_CHECKING:
    from exporters.artifact import ModelCard
    from exporters.latency import LatencyConfig, LatencyResult
    from exporters.runtimes import Session

__all__ = ["command"]


@click.command(
    "bench",
    epilog=examples(
        "cake-edge bench student.int8.ort-x86.onnx",
        "cake-edge bench runs/demo/artifacts/*.onnx --threads 1 --seconds 5",
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
    seed: int,
    as_json: bool,
) -> None:
    """Measures latency on ONNX Runtime, all models taking turns on the same noisy machine.

    The speed-up compares each model with the first one, round by round, with a 95 % interval.
    Input is random: a network's time does not depend on what it sees. A file whose target does
    not run on this machine is listed and not timed.
    """
    from cake_edge.provenance import refuse_existing, write_json
    from exporters.latency import LatencyConfig, latency_environment, load_average

    if out is not None:
        refuse_existing(out)
    config = LatencyConfig(
        batch=batch, min_seconds=seconds, max_seconds=max(60.0, 4 * seconds), seed=seed
    )
    before = load_average()
    files = [_about(path) for path in models]
    timed = [file for file in files if force or file.foreign is None]
    if not timed:
        raise ArtifactError(
            f"{files[0].path} was {files[0].foreign}: a time measured here says nothing of its "
            "target. Measure it there; or time it here all the same, with --force"
        )
    results, runtime = _measure(timed, threads, config)
    found_of = dict(zip(map(id, timed), results, strict=True))
    rows = [_row(file, found_of.get(id(file)), results[0], seed) for file in files]
    found: dict[str, Any] = {
        "schema_version": 1,
        "models": rows,
        "environment": {
            **latency_environment(threads=threads, load_before=before),
            "runtime": runtime,
        },
    }
    if out is not None:
        raw = [
            {**row, "samples_ms": found_of[id(file)].samples_ms.tolist()}
            if id(file) in found_of
            else row
            for row, file in zip(rows, files, strict=True)
        ]
        write_json(out, {**found, "models": raw})
    emit(found, as_json, lambda: _show(found, out))


@dataclass(frozen=True, slots=True, kw_only=True)
class _File:
    """A model file, and whether it is meant for this machine."""

    path: Path
    card: ModelCard | None
    foreign: str | None
    """Why it does not run here as it was meant to; None where it does."""


def _about(path: Path) -> _File:
    from exporters.runtimes import read_card, why_not_here

    card = read_card(path)
    return _File(path=path, card=card, foreign=why_not_here(card))


def _measure(
    files: list[_File], threads: int, config: LatencyConfig
) -> tuple[list[LatencyResult], dict[str, Any]]:
    from exporters.latency import measure, random_images
    from exporters.runtimes import open_session

    with ExitStack() as stack:
        sessions = [
            stack.enter_context(open_session(file.path, threads=threads, fixed_batch=config.batch))
            for file in files
        ]
        images = [
            random_images(_input_size(file.path, session), config)
            for file, session in zip(files, sessions, strict=True)
        ]
        progress = stack.enter_context(progress_sink())
        return measure(sessions, images, config, progress), sessions[0].describe()


def _input_size(path: Path, session: Session) -> tuple[int, ...]:
    """(C, H, W), as the file's card or else its graph tells it."""
    if session.card is not None:
        return session.card.spec.input_size
    shape = tuple(getattr(session, "input_shape", ()))[1:]
    if len(shape) != 3 or not all(isinstance(size, int) for size in shape):
        raise ArtifactError(
            f"{path} does not fix the size of its input (channels, height, width are {shape}): "
            "export it with a fixed image size"
        )
    return shape


def _row(
    file: _File, result: LatencyResult | None, first: LatencyResult, seed: int
) -> dict[str, Any]:
    from cake_edge.provenance import sha256_file
    from exporters.latency import paired_ratio

    card = file.card
    return {
        "role": card.role if card else None,
        "precision": card.precision if card else None,
        "target": card.target if card else None,
        "architecture": card.architecture if card else None,
        "path": str(file.path),
        "bytes": file.path.stat().st_size,
        "parameters": card.parameters if card else None,
        "top1": None,
        "agreement": None,
        "latency_ms": result.to_dict() if result is not None else None,
        "n": None,
        "sha256": sha256_file(file.path),
        "speedup": None
        if result is None or result is first
        else paired_ratio(first, result, seed=seed).to_dict(),
        "foreign": file.foreign,
    }


def _show(found: dict[str, Any], out: Path | None) -> None:
    from exporters.report.words import size

    header = ("model", "size", "p50 ms", "p90", "p95", "p99", "images/s", "speed-up", "")
    rows = []
    for model in found["models"]:
        latency, ratio = model["latency_ms"], model["speedup"]
        if latency is None:
            rows.append((model["path"], size(model["bytes"]), *[""] * 6, "not timed"))
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
    for warning in found["environment"]["warnings"]:
        click.echo(f"Note: {warning}.")
    if out is not None:
        click.echo(f"Every sample is in {out}")
