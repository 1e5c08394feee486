"""Whether two results may be compared: what of their machines and settings differs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from exporters.latency.bench_file import BenchFile, BenchRow

__all__ = ["Difference", "differences", "disturbance"]

MACHINE = (
    ("processor", "processor"),
    ("architecture", "machine"),
    ("system", "system"),
    ("cores", "cores"),
    ("threads", "threads"),
    ("frequency governor", "governor"),
    ("inside the clock", "clock"),
)
"""What a difference is called, and its key in a result's environment."""
BOARD = (
    ("board", "model"),
    ("module", "module"),
    ("JetPack", "jetpack"),
    ("TensorRT", "tensorrt"),
    ("clocks locked", "clocks_locked"),
)
BUSY = 0.5
"""Load a core from which other work shares the machine."""
WAITED = 2.0
"""A network does the same work in every call; one that takes this many medians waited."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One thing in which two results differ that shapes a latency."""

    name: str
    """In words."""
    base: str
    """What it was."""
    new: str
    """What it became."""

    def __str__(self) -> str:
        return f"{self.name}: {self.base} and {self.new}"


def differences(base: BenchFile, new: BenchFile) -> list[Difference]:
    """Everything but the models in which two measurements differ, in the order of `MACHINE`.

    What neither file says is not compared; what one alone says is a difference.
    """
    before, after = dict(_settings(base)), dict(_settings(new))
    return [
        Difference(name=name, base=_said(before.get(name)), new=_said(after.get(name)))
        for name in {**before, **after}
        if before.get(name) != after.get(name)
    ]


def disturbance(file: BenchFile, row: BenchRow) -> str | None:
    """Why the machine was not the model's alone while it was measured, or None."""
    environment = file.environment
    cores, threads = environment.get("cores"), environment.get("threads") or 1
    before, after = environment.get("load_before"), environment.get("load_after")
    if cores and before is not None and before > BUSY * cores:
        return f"load {before:g} on {cores} cores before the first call"
    # Its own threads are part of the load after a measurement.
    if cores and after is not None and after > BUSY * cores + threads:
        return f"load {after:g} on {cores} cores after the last call"
    latency = row.latency
    if latency is None:
        return None
    if latency.get("unstable"):
        return "its median moved while it was measured"
    if latency["p99"] > WAITED * latency["p50"]:
        return f"one call in a hundred took over {WAITED:g} medians"
    return None


def _settings(file: BenchFile) -> Iterator[tuple[str, Any]]:
    environment = file.environment
    for name, key in MACHINE:
        if environment.get(key) is not None:
            yield name, environment[key]
    # What knows of no input is older than the choice, and was shown random values.
    yield "input", environment.get("input") or "random"
    runtime = environment.get("runtime") or {}
    yield "runtime", " ".join(str(runtime.get(k, "")) for k in ("runtime", "version")).strip()
    yield "providers", runtime.get("providers")
    options = runtime.get("options")
    for key, value in (options if isinstance(options, Mapping) else {}).items():
        yield f"runtime option {key}", value
    device = file.device or {}
    for name, key in BOARD:
        if device.get(key) is not None:
            yield name, device[key]
    mode = device.get("power_mode")
    if isinstance(mode, Mapping):
        yield "power mode", mode.get("name") or mode.get("number")


def _said(value: Any) -> str:
    if value is None or value == "":
        return "not stated"
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return str(value)
