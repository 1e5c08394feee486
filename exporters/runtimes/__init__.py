"""Runtimes: opens a model file where it is to run. Needs neither torch, timm nor onnx."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from cake_edge.errors import UsageMistake, near_names
from exporters.runtimes.base import Session
from exporters.runtimes.ort import OrtSession

__all__ = ["RUNTIMES", "OrtSession", "Session", "open_session"]

RUNTIMES: dict[str, Callable[..., Session]] = {
    "ort": OrtSession,
}


def open_session(
    path: Path, *, runtime: str = "ort", threads: int = 1, fixed_batch: int | None = None
) -> Session:
    """Opens `path` on a runtime named in `RUNTIMES`.

    Args:
        threads: processor threads one inference may use.
        fixed_batch: the only batch size that will be asked for; lets the runtime plan for it.

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
    return RUNTIMES[runtime](path, threads=threads, fixed_batch=fixed_batch)
