"""Runtimes: opens a model file where it is to run. Needs neither torch, timm nor onnx."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from cake_edge.errors import UsageMistake, near_names
from exporters.artifact import ModelCard
from exporters.runtimes.base import Session
from exporters.runtimes.ort import OrtSession

__all__ = [
    "RUNTIMES",
    "OrtSession",
    "Session",
    "open_for_accuracy",
    "open_session",
    "read_card",
    "why_not_here",
]


def _open_tensorrt(path: Path, **options: Any) -> Session:
    # Read when it is asked for: most machines have no use for it.
    from exporters.runtimes.trt import open_tensorrt

    return open_tensorrt(path, **options)


RUNTIMES: dict[str, Callable[..., Session]] = {
    "ort": OrtSession,
    "tensorrt": _open_tensorrt,
}


def open_session(
    path: Path,
    *,
    runtime: str = "ort",
    threads: int = 1,
    fixed_batch: int | None = None,
    optimise: bool = True,
) -> Session:
    """Opens `path` on a runtime named in `RUNTIMES`.

    Args:
        threads: processor threads one inference may use.
        fixed_batch: the only batch size that will be asked for; lets the runtime plan for it.
        optimise: False computes the graph as it is written: an INT8 file in float, with its
            values rounded, whatever this machine would make of it.

    Raises:
        UsageMistake: no such runtime, or a number below 1.
        RuntimeUnavailable: the runtime is not installed.
        ArtifactError: the file is missing or is not a model.
    """
    if runtime not in RUNTIMES:
        raise UsageMistake(
            f"no runtime {runtime!r}{near_names(runtime, RUNTIMES)}; "
            f"allowed: {', '.join(sorted(RUNTIMES))}"
        )
    return RUNTIMES[runtime](path, threads=threads, fixed_batch=fixed_batch, optimise=optimise)


def open_for_accuracy(path: Path, *, threads: int = 1) -> Session:
    """Opens `path` to measure its answers: as it is deployed, if its target runs here.

    A file for another target is computed as it is written, in float with its values rounded:
    fused by the runtime at hand, its answers would be neither the target's nor exact.

    Raises:
        ArtifactError: the file is missing or is not a model.
    """
    session = open_session(path, threads=threads, optimise=False)
    if why_not_here(session.card) is not None:
        return session
    return open_session(path, threads=threads)


def read_card(path: Path) -> ModelCard | None:
    """Returns what a model file says of itself, or None where it is not one of ours.

    Raises:
        ArtifactError: the file is missing or is not a model.
    """
    with open_session(path, optimise=False) as session:
        return session.card


def why_not_here(card: ModelCard | None) -> str | None:
    """Returns why a file does not run on this machine as it was meant to; None where it does.

    A float file, and one that says nothing of itself, runs wherever a runtime opens it.
    """
    # The quantizer measures with this package, and is imported after it.
    from exporters.quantize import TARGETS
    from exporters.quantize.gate import runs_here

    if card is None or card.target == "any":
        return None
    if card.target not in TARGETS:
        return f"made for {card.target!r}, a target that this version does not know"
    if not runs_here(TARGETS[card.target]):
        return f"made for {card.target}, which does not run on this machine"
    return None
