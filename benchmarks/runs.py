"""Runs a command of cake-edge as a user would, and keeps what its report shows."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
import psutil

from cake_edge.provenance import read_json

__all__ = ["run_and_summarise"]


def run_and_summarise(arguments: list[str], out: Path) -> dict[str, Any]:
    """Runs `cake-edge ARGUMENTS` in a process of its own; returns wall time, memory and figures.

    Args:
        out: the run folder that the arguments name; it must be new, or the wall time would not
            be the whole run's.
    """
    if out.exists():
        raise click.ClickException(f"{out} is there already; name a new folder")
    started = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-m", "cake_edge", *arguments], stdout=subprocess.DEVNULL
    )
    peak = _peak_of(process)
    wall = time.monotonic() - started
    if process.returncode != 0:
        raise click.ClickException(f"cake-edge {arguments[0]} ended with {process.returncode}")
    return {
        "wall_seconds": round(wall, 1),
        "peak_memory_bytes": peak,
        **_summary(read_json(out / "report.json")),
    }


def _summary(report: Mapping[str, Any]) -> dict[str, Any]:
    """The report without curves and pictures: what a figure in a document rests on."""
    models = []
    for model in report["models"]:
        kept = {k: v for k, v in model.items() if k != "path"}
        if model["precision"] == "int8":
            kept["speedup_over_fp32"] = report["quantize"][model["target"]]["over_student_fp32"]
        models.append(kept)
    return {
        "seed": report["manifest"]["seed"],
        "recipe": report["manifest"]["recipe"],
        "teacher": report["manifest"]["teacher"],
        "pool": report["manifest"]["pool"],
        "pool_summary": report["pool"],
        "agreement_synthetic": report["distill"]["agreement_synthetic"],
        "stages": report["stages"],
        "models": models,
        "machine": {k: v for k, v in report["environment"].items() if k != "versions"},
    }


def _peak_of(process: subprocess.Popen[bytes]) -> int:
    """Waits for a process; returns the most memory that it and its children held, in bytes."""
    me, peak = psutil.Process(process.pid), 0
    while process.poll() is None:
        total = 0
        try:
            for one in [me, *me.children(recursive=True)]:
                total += one.memory_info().rss
        except psutil.Error:
            total = 0
        peak = max(peak, total)
        time.sleep(0.2)
    return peak
