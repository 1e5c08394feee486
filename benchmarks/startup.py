"""What `cake-edge --help` costs beside importing click and rich: benchmarks/results/startup.json.

    python -m benchmarks.startup

The two are run in turns, so that a busy machine slows both alike; the ratio is that of medians.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from pathlib import Path

import click

from benchmarks.results_files import RESULTS, write_results

RIVALS = {
    "help": [str(Path(sys.executable).with_name("cake-edge")), "--help"],
    "click and rich": [sys.executable, "-c", "import click, rich"],
}


def seconds_of(command: list[str]) -> float:
    """Wall time of one process."""
    started = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


@click.command()
@click.option("--rounds", default=40, show_default=True)
@click.option("--results", type=click.Path(path_type=Path), default=RESULTS / "startup.json")
def main(rounds: int, results: Path) -> None:
    """Measures both in turns."""
    samples: dict[str, list[float]] = {name: [] for name in RIVALS}
    for _ in range(rounds):
        for name, command in RIVALS.items():
            samples[name].append(seconds_of(command))
    medians = {name: statistics.median(values) for name, values in samples.items()}
    ratio = medians["help"] / medians["click and rich"]
    measured = {
        "rounds": rounds,
        "median_seconds": {name: round(value, 4) for name, value in medians.items()},
        "ratio": round(ratio, 3),
        "promise": "at most 1.5",
    }
    write_results(results, ["python", "-m", "benchmarks.startup"], measured)
    click.echo(f"ratio {ratio:.2f} ({measured['median_seconds']})")


if __name__ == "__main__":
    main()
