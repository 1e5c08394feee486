"""`cake-edge scenario`: one model as one kind of user sees it, by MLPerf's definitions."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cake_edge.cli.bench_options import INPUTS, find_input, input_option
from cake_edge.cli.console import emit, progress_sink
from cake_edge.cli.help_sections import SectionedCommand
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
    from exporters.latency.inputs import Brought

__all__ = ["command"]

SCENARIOS = ("single-stream", "multi-stream", "offline", "server")
POSITIVE = click.FloatRange(min=0, min_open=True)
IMAGES = 64
"""Images that queries take in turn."""
SECTIONS = {
    "Who sends images, and when": ("scenario", "streams", "batch", "qps", "bound_ms", "workers"),
    "How long": ("seconds", "max_seconds"),
    "What is measured": ("input", "runtime", "threads"),
    "Result": ("out", "as_json"),
}


@click.command(
    "scenario",
    cls=SectionedCommand,
    sections=SECTIONS,
    epilog=examples(
        "cake-edge scenario student.int8.ort-x86.onnx",
        "cake-edge scenario student.int8.ort-x86.onnx --scenario offline --batch 32",
        "cake-edge scenario student.int8.ort-x86.onnx --scenario server --qps 200 --bound-ms 15",
        "cake-edge scenario student.int8.ort-x86.onnx --scenario server --bound-ms 15 --json",
    ),
)
@click.argument("model", type=click.Path(path_type=Path))
@click.option(
    "--scenario",
    type=click.Choice(SCENARIOS),
    default="single-stream",
    show_default=True,
    help="One of MLPerf Inference's; the text above says what each is.",
)
@click.option(
    "--streams", type=click.IntRange(min=1), metavar="N", default=8, show_default=True,
    help="multi-stream: images a query.",
)  # fmt: skip
@click.option(
    "--batch", type=click.IntRange(min=1), metavar="N", default=1, show_default=True,
    help="offline: images a call.",
)  # fmt: skip
@click.option(
    "--workers", type=click.IntRange(min=1), metavar="N", default=1, show_default=True,
    help="offline and server: calls of the model at the same time.",
)  # fmt: skip
@click.option(
    "--qps", type=POSITIVE, metavar="RATE",
    help="server: queries a second; without it the highest that hold --bound-ms are looked for.",
)  # fmt: skip
@click.option(
    "--bound-ms", type=POSITIVE, metavar="MS", help="server: what the 99th percentile may be."
)
@click.option(
    "--seconds", type=POSITIVE, metavar="SECONDS", default=10.0, show_default=True,
    help="Least duration of a run; a search makes several.",
)  # fmt: skip
@click.option(
    "--max-seconds", type=POSITIVE, metavar="SECONDS", default=120.0, show_default=True,
    help="Duration at which a run ends with fewer queries than its percentile needs.",
)  # fmt: skip
@input_option
@click.option(
    "--runtime", type=click.Choice(["ort", "tensorrt"]), default="ort", show_default=True,
    help="ONNX Runtime on the processor, or TensorRT on the GPU.",
)  # fmt: skip
@click.option(
    "--out", type=click.Path(path_type=Path),
    help="JSON file for the result with every latency; a new one.",
)  # fmt: skip
@threads_option
@seed_option
@json_option
@verbosity_options
@click.pass_context
def command(
    ctx: click.Context,
    model: Path,
    scenario: str,
    streams: int,
    batch: int,
    workers: int,
    qps: float | None,
    bound_ms: float | None,
    seconds: float,
    max_seconds: float,
    input: str,
    runtime: str,
    out: Path | None,
    threads: int,
    seed: int,
    as_json: bool,
) -> None:
    """Measures one model in a scenario of MLPerf Inference.

    single-stream: one image after another. multi-stream: several images a query. offline:
    everything is there at once, and throughput counts. server: queries come at random, and wait
    where the model is busy; a latency counts from when its query was due.

    Percentiles are early-stopping estimates: with 99 % confidence the true one is no higher.
    Names and definitions are MLPerf's; a result is not, and is no submission.

    Exit codes: 0 measured, 1 the run was too short or fell behind, 2 wrong usage.
    """
    from cake_edge.provenance import refuse_existing, write_json
    from exporters.latency.scenario_config import ScenarioConfig

    shown = find_input(input)
    config = ScenarioConfig(
        scenario=scenario, streams=streams, batch=batch, workers=workers, qps=qps,
        bound_ms=bound_ms, min_seconds=seconds, max_seconds=max(max_seconds, seconds), seed=seed,
    )  # fmt: skip
    if out is not None:
        refuse_existing(out)
    found, samples_ms = _measured(model, config, shown, runtime, threads)
    if out is not None:
        write_json(out, {**found, "samples_ms": samples_ms})
    emit(found, as_json, lambda: _show(found))
    if not found["valid"] or (found["server"] or {}).get("held") is False:
        ctx.exit(1)


def _measured(
    model: Path, config: Any, shown: tuple[str, Brought | None], runtime: str, threads: int
) -> tuple[dict[str, Any], list[float]]:
    from cake_edge.provenance import sha256_file
    from exporters.latency.environment import latency_environment, load_average
    from exporters.latency.inputs import brought_images, input_size, made_images
    from exporters.latency.scenarios import run_scenario
    from exporters.runtimes import open_session

    (name, brought), load, size = shown, load_average(), config.images_per_query
    with (
        open_session(model, runtime=runtime, threads=threads, fixed_batch=size) as session,
        progress_sink() as progress,
    ):
        card = session.card
        _refuse_foreign(model, card, runtime)
        spec, shape = None if card is None else card.spec, input_size(model, session)
        images = (
            made_images(name, shape, size, seed=config.seed, spec=spec)
            if brought is None
            else brought_images(brought, shape, size * -(-IMAGES // size), spec=spec)
        )
        result = run_scenario(session, images, config, progress=progress)
        found = {
            "model": str(model),
            "sha256": sha256_file(model),
            "input": name,
            **result.to_dict(),
            "runtime": session.describe(),
            "environment": latency_environment(threads=threads, load_before=load),
        }
    return found, result.samples_ms.tolist()


def _refuse_foreign(path: Path, card: ModelCard | None, runtime: str) -> None:
    from exporters.runtimes import why_not_here

    why = why_not_here(card) if runtime == "ort" else None
    if why is not None:
        raise ArtifactError(f"{path} was {why}: measure it on its target")


def _show(found: dict[str, Any]) -> None:
    latency, server = found["latency_ms"], found["server"]
    click.echo(f"{found['scenario']}: {found['definition']}")
    value = "none" if found["value"] is None else f"{found['value']:.4g}"
    click.echo(f"{found['metric']}: {value}")
    click.echo(
        f"p50 {latency['p50']:.3f}  p90 {latency['p90']:.3f}  p99 {latency['p99']:.3f} ms of "
        f"{latency['n_samples']} queries; {found['images_per_second']:,.1f} images a second "
        f"in {found['seconds']:.1f} s"
    )
    # Where no rate was found, what there is of a run had no queue: it held nothing.
    if server is not None and server["qps"]:
        held = {None: "", True: ": held", False: ": not held"}[server["held"]]
        bound = "" if server["bound_ms"] is None else f"; bound {server['bound_ms']:g} ms{held}"
        click.echo(
            f"{server['qps']:.4g} queries a second, model busy {100 * server['busy']:.0f} %{bound}"
        )
    about = "" if found["input"] in INPUTS else "images of "
    click.echo(f"The input was {about}{found['input']}.")
    for why in (*found["why_invalid"], *found["environment"]["warnings"]):
        click.echo(f"Note: {why}.")
    click.echo(f"Note: {found['note']}.")
