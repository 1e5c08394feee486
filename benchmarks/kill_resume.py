"""Kills a run with SIGKILL at random moments until it ends: benchmarks/results/kill_resume.json.

    python -m benchmarks.kill_resume --kills 10

The undisturbed run and the killed one must hold the same bytes: pool, student, ONNX files.
"""

from __future__ import annotations

import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import click
import psutil

from benchmarks.results_files import RESULTS, write_results
from cake_edge.provenance import sha256_file

__all__ = ["RECIPE", "hashes", "kill_and_resume", "kill_moments", "resumed_steps", "start"]

RECIPE = """
name = "kill"
[teacher]
reference = "embedded"
[synthesis]
count = 480
settings = { steps = 20, images_per_shard = 48, oversample = 2 }
[student]
name = "tiny-resnet"
[distill]
steps = 4000
batch = 64
[bench]
min_seconds = 0.2
warmup_seconds = 0.1
"""


def hashes(folder: Path) -> dict[str, str]:
    """SHA-256 of every file whose bytes a seed decides; measurements and records are left out."""
    kept = [f for room in ("pool", "student", "artifacts") for f in folder.glob(f"{room}/[!.]*")]
    return {file.relative_to(folder).as_posix(): sha256_file(file) for file in sorted(kept)}


def start(recipe: Path, out: Path) -> subprocess.Popen[bytes]:
    """Starts `cake-edge compress` in a process of its own."""
    command = [sys.executable, "-m", "cake_edge", "compress", str(recipe), "--out", str(out)]
    with out.with_suffix(".log").open("ab") as log:
        return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=log)


def resumed_steps(out: Path) -> list[int]:
    """Returns the training steps at which restarted runs went on, from what they logged."""
    log = out.with_suffix(".log").read_text(encoding="utf-8", errors="replace")
    return [int(step) for step in re.findall(r"going on from step (\d+) of", log)]


def kill_and_resume(recipe: Path, out: Path, moments: list[float]) -> int:
    """Starts the run once for every moment and kills it then, and once more to the end.

    Args:
        moments: seconds after the start.

    Returns:
        How many of the kills met a run that was still going.
    """
    met = 0
    for moment in moments:
        process = start(recipe, out)
        try:
            process.wait(timeout=moment)
        except subprocess.TimeoutExpired:
            met += 1
            helpers = psutil.Process(process.pid).children(recursive=True)
            process.send_signal(signal.SIGKILL)
            process.wait()
            _, left = psutil.wait_procs(helpers, timeout=30)
            if left:
                raise RuntimeError(f"{len(left)} processes outlived a killed run") from None
    if start(recipe, out).wait() != 0:
        raise RuntimeError("the run did not end well after the last kill")
    return met


def kill_moments(whole: float, idle: float, kills: int, seed: int) -> list[float]:
    """Draws moments so spread that the run is not over before the last kill, as a rule.

    Args:
        whole: seconds of an undisturbed run.
        idle: seconds of a run that finds every stage finished: what each new start costs.
    """
    most = 2 * (whole - idle) / (kills + 2)
    return [idle * 0.7 + random.Random(seed * 1000 + k).uniform(0, most) for k in range(kills)]


@click.command()
@click.option("--kills", default=10, show_default=True)
@click.option("--seed", default=0, show_default=True)
@click.option("--results", type=click.Path(path_type=Path), default=RESULTS / "kill_resume.json")
def main(kills: int, seed: int, results: Path) -> None:
    """Compares a killed run with an undisturbed one."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        recipe = folder / "recipe.toml"
        recipe.write_text(RECIPE)
        started = time.monotonic()
        if start(recipe, folder / "whole").wait() != 0:
            raise click.ClickException("the undisturbed run failed")
        whole = time.monotonic() - started
        started = time.monotonic()
        start(recipe, folder / "whole").wait()
        idle = time.monotonic() - started
        moments = kill_moments(whole, idle, kills, seed)
        met = kill_and_resume(recipe, folder / "killed", moments)
        same = hashes(folder / "whole") == hashes(folder / "killed")
        measured = {
            "seed": seed,
            "undisturbed_seconds": round(whole, 1),
            "kills": kills,
            "kills_that_met_a_running_process": met,
            "killed_after_seconds": [round(moment, 1) for moment in moments],
            "training_went_on_from_steps": resumed_steps(folder / "killed"),
            "same_bytes": same,
            "files": hashes(folder / "whole"),
        }
    command = ["python", "-m", "benchmarks.kill_resume", "--kills", str(kills), "--seed", str(seed)]
    write_results(results, command, measured)
    click.echo(f"{met} of {kills} kills met a running process; same bytes: {same}")
    sys.exit(0 if same else 1)


if __name__ == "__main__":
    main()
