"""What the device side costs before a model is open: benchmarks/results/device_side.json.

    python -m benchmarks.device_side

Each process is started anew, in turns: Python alone, Python with numpy, the bundled runner up to
the point where it would load a runtime, and the same with the runtime loaded. Told are seconds of
the clock and of the processor; the second are what a machine with nothing else to do would take.
"""

from __future__ import annotations

import resource
import statistics
import sys
import tempfile
from pathlib import Path

import click

from benchmarks.results_files import RESULTS, write_results
from benchmarks.startup import seconds_of
from exporters.latency import load_average
from exporters.remote.bundle import bundle, needed_modules

PROMISE = 0.5
"""Seconds that the device side may take before the runtime is loaded."""


def commands(runner: Path) -> dict[str, list[str]]:
    """What is measured, by name."""
    ours = f"import sys; sys.path.insert(0, {str(runner)!r}); import exporters.remote.measure"
    return {
        "python": [sys.executable, "-c", "pass"],
        "python and numpy": [sys.executable, "-c", "import numpy"],
        "device side": [sys.executable, "-c", ours],
        "device side and onnxruntime": [sys.executable, "-c", f"{ours}, onnxruntime"],
    }


def measure(rounds: int) -> dict[str, dict[str, float]]:
    """Median seconds of each process, of the clock and of the processor, by name."""
    with tempfile.TemporaryDirectory() as folder:
        runner = Path(folder) / "runner.pyz"
        runner.write_bytes(bundle())
        samples: dict[str, list[tuple[float, float]]] = {name: [] for name in commands(runner)}
        for _ in range(rounds):
            for name, command in commands(runner).items():
                before = processor_seconds()
                samples[name].append((seconds_of(command), processor_seconds() - before))
    return {
        kind: {
            name: round(statistics.median(values[index] for values in taken), 4)
            for name, taken in samples.items()
        }
        for index, kind in enumerate(("clock", "processor"))
    }


def processor_seconds() -> float:
    """Of all children that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@click.command()
@click.option("--rounds", default=40, show_default=True)
@click.option("--results", type=click.Path(path_type=Path), default=RESULTS / "device_side.json")
def main(rounds: int, results: Path) -> None:
    """Measures all in turns."""
    medians = measure(rounds)
    measured = {
        "rounds": rounds,
        "median_seconds": medians,
        "bundle_bytes": len(bundle()),
        "bundle_modules": len(needed_modules()),
        "promise": f"device side at most {PROMISE} s before the runtime is loaded",
        "kept": {kind: told["device side"] <= PROMISE for kind, told in medians.items()},
        "load": load_average(),
    }
    write_results(results, ["python", "-m", "benchmarks.device_side"], measured)
    click.echo(f"{medians}")


if __name__ == "__main__":
    main()
