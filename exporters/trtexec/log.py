"""What trtexec prints, of 8.6, 10 and 11: how it was called, on what, and its own summary."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from cake_edge.errors import ArtifactError

__all__ = ["Log", "read_log"]

PREFIX = re.compile(r"^(?:\[[^\]]*\] )*\[(?P<level>[IWEFV])\] ?(?:\[TRT\] )?(?P<text>.*)$")
"""A line: date or nothing, level, and what is said."""
CALLED = re.compile(r"^&&&& (?P<how>\w+) TensorRT\.trtexec(?: \[TensorRT v(?P<version>\d+)\])?")
COMMAND = re.compile(r"^&&&& .*?# \S+ (?P<command>.*)$", re.MULTILINE)
NUMBER = re.compile(r"(?P<name>min|max|mean|median|percentile\((?P<share>\d+)%\)) = (?P<ms>[\d.]+)")
TURNED = 11  # from here on copies are out, and graph and spinning in, unless stated


@dataclass(frozen=True, slots=True, kw_only=True)
class Log:
    """What a run printed."""

    path: Path
    version: str | None
    """Of TensorRT, such as "10.3.0"."""
    command: str | None
    """As it was called, without the program's own path."""
    model: str | None
    """The ONNX file or engine of the command."""
    batch: int
    """Images a call, of --shapes or else --optShapes; 1 where neither is given."""
    gpu: str | None
    """Its name."""
    compute_capability: str | None
    """Such as "8.7"."""
    throughput: float | None
    """Calls a second by the wall clock."""
    summary: dict[str, float]
    """Latency in milliseconds: min, max, mean, p50, and the percentiles it was asked for."""
    clock: str
    """What is inside a latency."""
    unstable: bool
    """Whether trtexec itself says that the GPU's time is."""
    warnings: tuple[str, ...]
    """What it says against its own figures."""


def read_log(text: str, path: Path) -> Log:
    """Reads what trtexec printed.

    Raises:
        ArtifactError: it is not trtexec's, or the run failed.
    """
    calls = [found for found in map(CALLED.match, text.splitlines()) if found]
    if not calls:
        raise ArtifactError(
            f"{path} is not what trtexec prints: it has no line that begins with "
            '"&&&& RUNNING TensorRT.trtexec"; keep all that it prints'
        )
    lines = [found for found in map(PREFIX.match, text.splitlines()) if found]
    # Not the verbose lines: they explain the words of the summary in the same words.
    said = [found["text"].strip() for found in lines if found["level"] == "I"]
    if any(call["how"] == "FAILED" for call in calls):
        errors = [found["text"].strip() for found in lines if found["level"] in "EF"]
        raise ArtifactError(f"{path}: trtexec failed: {errors[0] if errors else 'it says not why'}")
    called = COMMAND.search(text)
    command = called["command"].strip() if called else ""
    version = _labelled(said, "TensorRT version") or _decoded(calls[0]["version"])
    warnings = tuple(
        found["text"].strip("* ")
        for found in lines
        if found["level"] == "W" and found["text"].startswith("* ")
    )
    return Log(
        path=path,
        version=version,
        command=command or None,
        model=_argument(command, "--onnx") or _argument(command, "--loadEngine"),
        batch=_batch(command, said),
        gpu=_labelled(said, "Selected Device"),
        compute_capability=_labelled(said, "Compute Capability"),
        throughput=_throughput(said),
        summary=_summary(said),
        clock=_clock(command, version, said),
        unstable=any("unstable" in warning for warning in warnings),
        warnings=warnings,
    )


def _labelled(said: list[str], label: str) -> str | None:
    return next(
        (line.partition(":")[2].strip() for line in said if re.match(rf"{label} ?:", line)), None
    )


def _decoded(number: str | None) -> str | None:
    """Version 8601 is 8.6.1; from 10 on the minor has two digits, and 100300 is 10.3.0."""
    if number is None:
        return None
    if len(number) < 5:
        return f"{number[0]}.{int(number[1:-2])}.{int(number[-2:])}"
    return f"{int(number[:-4])}.{int(number[-4:-2])}.{int(number[-2:])}"


def _argument(command: str, flag: str) -> str | None:
    found = re.search(rf"(?:^|\s){flag}=(\S+)", command)
    return found[1] if found else None


def _batch(command: str, said: list[str]) -> int:
    """The first axis of the shape it ran, "images=4x3x224x224" as it says or ":" as it was told."""
    shapes = (
        _labelled(said, "Input inference shape"),
        _argument(command, "--shapes"),
        _argument(command, "--optShapes"),
    )
    found = (re.match(r"[^,]*[=:](\d+)(?:x|,|$)", shape or "") for shape in shapes)
    return next((int(each[1]) for each in found if each), 1)


def _throughput(said: list[str]) -> float | None:
    told = _labelled(said, "Throughput")
    found = re.match(r"[\d.]+(?:e[+-]?\d+)?", told or "")
    return float(found[0]) if found else None


def _summary(said: list[str]) -> dict[str, float]:
    line = next((line for line in said if line.startswith("Latency: ")), "")
    return {
        f"p{found['share']}"
        if found["share"]
        else {"median": "p50"}.get(found["name"], found["name"]): float(found["ms"])
        for found in NUMBER.finditer(line)
    }


def _clock(command: str, version: str | None, said: list[str]) -> str:
    """In words; as the run states it, or else as that version does by itself."""
    new = int((version or "0").partition(".")[0]) >= TURNED
    transfers = _state(said, "Data transfers")
    graph = _state(said, "CUDA Graph")
    spin = _state(said, "Spin-wait")
    if transfers is None:
        transfers = (
            "--includeDataTransfers" in command if new else ("--noDataTransfers" not in command)
        )
    if graph is None:
        graph = "--noCudaGraph" not in command if new else "--useCudaGraph" in command
    if spin is None:
        spin = "--noSpinWait" not in command if new else "--useSpinWait" in command
    inside = (
        "copy to the GPU, network and copy back" if transfers else "the network alone, no copies"
    )
    return (
        f"{inside}, on the GPU by CUDA events; {'with' if graph else 'without'} a CUDA graph, "
        f"{'spinning' if spin else 'sleeping'} while it waits; nothing of the host's own time"
    )


def _state(said: list[str], label: str) -> bool | None:
    told = _labelled(said, label)
    return {"Enabled": True, "Disabled": False}.get(told or "")
