"""How long a program takes from its start to its first answer, in fresh processes.

Caches of files are warm: the model and the libraries were read before. What a device takes after it
was switched on is longer by reading them from its storage.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from exporters.latency.isolation.worker import Setting, Worker

__all__ = ["FILE_CACHE", "cold_start"]

FILE_CACHE = "warm"


def cold_start(
    path: Path,
    how: Mapping[str, Any],
    *,
    batch: int,
    seed: int,
    runs: int,
    setting: Setting,
    images_file: Path | None = None,
) -> dict[str, Any]:
    """Starts a process for each run, opens a model there and calls it once.

    Args:
        how: what `exporters.runtimes.open_session` is given, batch aside.
        batch: images of the call.
        images_file: what it sees, float32 [batch, C, H, W] as bytes; None lets it make its own.

    Returns:
        `runs`, `file_cache`, and in seconds `start` (the process, Python, this package and the
        runtime), `load` (the model), `first` (its first call) and `total`, each with `median`,
        `min` and `max`.

    Raises:
        WorkerFailed: a run did not end with an answer.
    """
    shown: dict[str, Any] = {"batch": batch, "seed": seed}
    if images_file is not None:
        shown["images_file"] = str(images_file)
    found = [_once(path, {**how, "fixed_batch": batch}, shown, setting) for _ in range(runs)]
    steps = {name: [run[name] for run in found] for name in ("start", "load", "first")}
    steps["total"] = [sum(run.values()) for run in found]
    return {
        "runs": runs,
        "file_cache": FILE_CACHE,
        **{name: _summary(seconds) for name, seconds in steps.items()},
    }


def _once(
    path: Path, how: Mapping[str, Any], shown: Mapping[str, Any], setting: Setting
) -> dict[str, float]:
    doing = "in a cold start"
    begun = time.perf_counter()
    with Worker(setting) as worker:
        worker.ask(
            "start", doing, runtime=how["runtime"], memory_limit_mib=setting.memory_limit_mib
        )
        started = time.perf_counter() - begun
        load = worker.ask("open", doing, path=str(path), **how)["seconds"]
        first = worker.ask("first", doing, **shown)["seconds"]
    return {"start": started, "load": load, "first": first}


def _summary(seconds: Sequence[float]) -> dict[str, float]:
    return {
        "median": round(statistics.median(seconds), 6),
        "min": round(min(seconds), 6),
        "max": round(max(seconds), 6),
    }
