"""A run folder and its stages: what is finished is found by hash, what was cut short starts over.

    RUN/run.json            the recipe that this folder belongs to
    RUN/stages/NAME.json    key, outputs with their hashes, seconds and peak memory of a stage

A stage's key hashes everything that decides its result. It is skipped when its record has the key
and every output is on disk with the hash the record gives.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from cake_edge.errors import ArtifactError, OutputExists
from cake_edge.provenance import (
    atomic_path,
    read_json,
    refuse_existing,
    sha256_file,
    sha256_json,
    write_json,
)

__all__ = ["Run", "StageRecord", "open_run"]


@dataclass(frozen=True, slots=True)
class StageRecord:
    """What one stage did and what it cost."""

    name: str
    result: Mapping[str, Any]
    """Plain values the stage returned."""
    seconds: float
    """Wall time of the attempt that finished it."""
    peak_memory_bytes: int | None
    attempts: int
    """How often it was begun; more than one where it was cut short before."""
    skipped: bool = False
    """It was found finished."""

    def to_dict(self) -> dict[str, Any]:
        """The `stages` entry of a report."""
        return {
            "name": self.name,
            "seconds": self.seconds,
            "peak_memory_bytes": self.peak_memory_bytes,
            "attempts": self.attempts,
            "skipped": self.skipped,
        }


@dataclass(slots=True)
class Run:
    """An open run folder."""

    folder: Path
    records: list[StageRecord] = field(default_factory=list)

    def stage(
        self,
        name: str,
        key: Mapping[str, Any],
        outputs: list[Path],
        work: Callable[[], Mapping[str, Any]],
    ) -> Mapping[str, Any]:
        """Runs a stage, or takes its result from an earlier run.

        Args:
            key: everything that decides the result, as plain values.
            outputs: files below the run folder that the stage writes.
            work: does it, and returns plain values for the record.
        """
        path, digest = self.folder / "stages" / f"{name}.json", sha256_json(key)
        found = self._finished(path, digest, outputs)
        if found is not None:
            record = StageRecord(
                name,
                found["result"],
                found["seconds"],
                found["peak_memory_bytes"],
                attempts=found["attempts"],
                skipped=True,
            )
        else:
            attempts = self._attempt(name)
            started = time.monotonic()
            with PeakMemory() as memory:
                result = work()
            record = StageRecord(
                name, result, time.monotonic() - started, memory.peak, attempts=attempts
            )
            write_json(path, {
                "name": name,
                "key": digest,
                "outputs": {str(o.relative_to(self.folder)): sha256_file(o) for o in outputs},
                "seconds": record.seconds,
                "peak_memory_bytes": record.peak_memory_bytes,
                "attempts": attempts,
                "result": dict(result),
            })  # fmt: skip
            self._begun(name).unlink(missing_ok=True)
        self.records.append(record)
        return record.result

    def _begun(self, name: str) -> Path:
        return self.folder / "stages" / f".{name}.begun"

    def _attempt(self, name: str) -> int:
        """Counts how often the stage has been begun, this time included."""
        path = self._begun(name)
        path.parent.mkdir(exist_ok=True)
        before = path.read_text(encoding="utf-8") if path.is_file() else ""
        attempt = int(before) + 1 if before.isdigit() else 1
        with atomic_path(path) as temporary:
            temporary.write_text(str(attempt), encoding="utf-8")
        return attempt

    def _finished(self, path: Path, digest: str, outputs: list[Path]) -> dict[str, Any] | None:
        if not path.is_file():
            return None
        try:
            record = read_json(path)
            wanted = {str(output.relative_to(self.folder)) for output in outputs}
            fits = record["key"] == digest and set(record["outputs"]) == wanted
            there = all(
                (self.folder / name).is_file() and sha256_file(self.folder / name) == sha
                for name, sha in record["outputs"].items()
            )
            complete = {"seconds", "peak_memory_bytes", "attempts", "result"} <= record.keys()
        except (ArtifactError, KeyError, TypeError, AttributeError):
            return None
        return record if fits and there and complete else None


def open_run(folder: Path, about: Mapping[str, Any]) -> Run:
    """Opens a new run folder, or one that the same recipe has begun.

    Args:
        about: what `run.json` holds. What is under `made` must be as it was: seed, teacher, pool
            and student belong together. The rest (targets, evaluation, latency) may change: its
            stages find by their keys what there is to do anew.

    Raises:
        OutputExists: the folder holds something else, or a run of another recipe.
    """
    path = folder / "run.json"
    if not path.is_file():
        refuse_existing(folder, folder=True)
        write_json(path, about)
        return Run(folder)
    found = read_json(path)
    differs = _differences(found.get("made"), about["made"])
    if not differs and found != about:
        write_json(path, about)
    if differs:
        raise OutputExists(
            f"{folder} holds a run of other settings (different: {', '.join(differs[:4])}); "
            "choose another --out, or remove it"
        )
    return Run(folder)


def _differences(found: Any, wanted: Any, place: str = "") -> list[str]:
    """Dotted names of the values in which two trees differ."""
    if isinstance(found, Mapping) and isinstance(wanted, Mapping):
        return [
            name
            for key in sorted(found.keys() | wanted.keys())
            for name in _differences(
                found.get(key), wanted.get(key), f"{place}.{key}" if place else str(key)
            )
        ]
    return [] if found == wanted else [place]


class PeakMemory:
    """Samples the resident memory of this process and its children ten times a second.

    Pages that processes share are counted in each of them; memory of a GPU is not seen.
    """

    def __init__(self, every: float = 0.1) -> None:
        self.peak: int | None = None
        self._every, self._stop = every, threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> PeakMemory:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        me = psutil.Process()
        while True:
            self.peak = max(self.peak or 0, _resident(me))
            if self._stop.wait(self._every):
                return


def _resident(me: psutil.Process) -> int:
    total = 0
    for process in [me, *me.children(recursive=True)]:
        try:
            total += process.memory_info().rss
        except psutil.Error:  # it ended between being listed and being asked
            continue
    return total
