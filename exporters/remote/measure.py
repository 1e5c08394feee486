"""Latency and energy of models on the machine at hand, as rows of a report."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from cake_edge import provenance
from cake_edge.errors import ArtifactError
from cake_edge.progress import Progress, silent
from exporters.artifact import ModelCard
from exporters.devices import Rails, advice, changes, describe_device, find_rails
from exporters.latency.environment import latency_environment, load_average
from exporters.latency.harness import (
    Images,
    LatencyConfig,
    LatencyResult,
    measure,
    paired_ratio,
    random_images,
)
from exporters.latency.power import Energy, energy, sample_power
from exporters.quantize import TARGETS
from exporters.remote.options import BenchOptions
from exporters.runtimes import Session, open_session, why_not_here

__all__ = ["bench_rows", "measure_here"]


def measure_here(
    models: Sequence[Path], options: BenchOptions, progress: Progress = silent
) -> dict[str, Any]:
    """Measures models, and describes the machine before and after.

    Returns:
        `schema_version`, `models` as `bench_rows` gives them, `device` with `before` and `after`,
        `advice` (sentences), `environment` with `runtime`, and `options`.

    Raises:
        ArtifactError: a file is missing, is no model, or all are for other machines.
    """
    before, load = describe_device(), load_average()
    rows, runtime = bench_rows(models, options, find_rails(), progress)
    after = describe_device()
    return {
        "schema_version": 1,
        "models": rows,
        "device": {"before": before.to_dict(), "after": after.to_dict()},
        "advice": [*advice(before), *changes(before, after)],
        "environment": {
            **latency_environment(threads=options.threads, load_before=load),
            "runtime": runtime,
        },
        "options": options.to_dict(),
    }


def bench_rows(
    models: Sequence[Path],
    options: BenchOptions,
    rails: Rails,
    progress: Progress = silent,
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Times models in turns, then measures the energy of each by itself.

    Returns:
        One row a file in the order given, with the keys of a report's model, `samples_ms`,
        `energy` (None where there are no rails) and `foreign`; and what the runtime says of
        itself.

    Raises:
        ArtifactError: a file is missing, is no model, or all are for other machines.
    """
    config = LatencyConfig(
        batch=options.batch,
        min_seconds=options.seconds,
        max_seconds=max(60.0, 4 * options.seconds),
        seed=options.seed,
    )
    with ExitStack() as stack:
        sessions = [stack.enter_context(_open(path, options)) for path in models]
        foreign = [_foreign(session.card, options.runtime) for session in sessions]
        timed = [i for i, why in enumerate(foreign) if why is None or options.force]
        if not timed:
            raise ArtifactError(
                f"{models[0]} was {foreign[0]}: a time measured there says nothing of its "
                "target; time it all the same with --force"
            )
        images = {i: random_images(_input_size(models[i], sessions[i]), config) for i in timed}
        results = measure(
            [sessions[i] for i in timed], [images[i] for i in timed], config, progress
        )
        latency = dict(zip(timed, results, strict=True))
        power = _energies({i: (sessions[i], images[i]) for i in timed}, rails, options, progress)
        rows = [
            {
                **_about(path, session),
                **_latency_part(latency.get(i), results[0], options.seed),
                "energy": power[i].to_dict() if i in power else None,
                "foreign": foreign[i],
            }
            for i, (path, session) in enumerate(zip(models, sessions, strict=True))
        ]
        return rows, sessions[timed[0]].describe()


def _open(path: Path, options: BenchOptions) -> Session:
    return open_session(
        path, runtime=options.runtime, threads=options.threads, fixed_batch=options.batch
    )


def _foreign(card: ModelCard | None, runtime: str) -> str | None:
    """Why a file is not for this machine and runtime; None where it is."""
    target = TARGETS.get(card.target) if card is not None else None
    if card is not None and target is not None and target.runtime != runtime:
        return f"made for {card.target}, which is not what {runtime} runs"
    return why_not_here(card) if runtime == "ort" else None


def _about(path: Path, session: Session) -> dict[str, Any]:
    card = session.card
    return {
        "role": card.role if card else None,
        "precision": card.precision if card else None,
        "target": card.target if card else None,
        "architecture": card.architecture if card else None,
        "path": str(path),
        "bytes": path.stat().st_size,
        "parameters": card.parameters if card else None,
        "top1": None,
        "agreement": None,
        "n": None,
        "sha256": provenance.sha256_file(path),
    }


def _latency_part(result: LatencyResult | None, first: LatencyResult, seed: int) -> dict[str, Any]:
    if result is None:
        return {"latency_ms": None, "samples_ms": None, "speedup": None}
    return {
        "latency_ms": result.to_dict(),
        "samples_ms": result.samples_ms.tolist(),
        "speedup": None if result is first else paired_ratio(first, result, seed=seed).to_dict(),
    }


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


def _energies(
    models: dict[int, tuple[Session, Images]],
    rails: Rails,
    options: BenchOptions,
    progress: Progress,
) -> dict[int, Energy]:
    """Energy of each model by itself: a sensor that averages would blur models that take turns."""
    if not rails.total or not options.energy_seconds:
        return {}
    found = {}
    for number, (i, (session, images)) in enumerate(models.items()):
        progress("energy", number, len(models), rails.name)
        found[i] = _energy(session, images, rails, options)
    progress("energy", len(models), len(models), rails.name)
    return found


def _energy(session: Session, images: Images, rails: Rails, options: BenchOptions) -> Energy:
    read, idle = rails.reader(), None
    if options.idle_seconds:
        idle = sample_power(
            read, lambda: time.sleep(options.idle_seconds), rail=rails.name, hz=options.power_hz
        )
    marks: list[float] = []

    def work() -> None:
        session.infer(images)
        marks.append(time.monotonic())
        while marks[-1] - marks[0] < options.energy_seconds:
            session.infer(images)
            marks.append(time.monotonic())

    trace = sample_power(read, work, rail=rails.name, hz=options.power_hz)
    images_done = (len(marks) - 1) * options.batch
    return energy(trace, [(marks[0], marks[-1])], idle, inferences=images_done)
