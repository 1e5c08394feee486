"""What becomes of damaged files, reader by reader: benchmarks/results/corrupted_files.json.

    python -m benchmarks.corrupted_files

Files, readers and the watch over them are those of tests/end_to_end/test_corrupted_files.py: damage
drawn from a seed, to bytes and to values, and files made to run code, to exhaust memory or to write
elsewhere. A file may be refused in one line, or read where the damage left it sound. What is
counted besides is what no reader may do.
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import click

from benchmarks.results_files import RESULTS, ROOT, write_results

__all__ = ["MAY_NOT", "by_reader", "row", "total"]

logger = logging.getLogger(__name__)

Line = dict[str, Any]
MAY_NOT = ("failed otherwise", "acted", "hung", "crashed", "not reached")
"""Refused in several lines, without naming the file or by an error of no kind of ours; wrote a
file, ran code or started a program; took 20 seconds or more; ended the process; came after it."""
SHOWN = 5


def lines_of(count: int, folder: Path) -> Iterator[Line]:
    """What the watched readers say of `count` files each, as they say it."""
    command = [sys.executable, "-m", "reference.corrupt_child", str(folder), "--count", str(count)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": "tests"}
    # A file, as the readers' own log would fill a pipe that nobody reads.
    with (
        (folder.parent / "log").open("wb") as log,
        subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=log, text=True
        ) as child,
    ):
        assert child.stdout is not None
        for line in child.stdout:
            yield json.loads(line)
    if child.returncode:
        raise RuntimeError(f"the readers could not be run: {command} ended {child.returncode}")


def by_reader(lines: Iterable[Line]) -> Iterator[tuple[str, list[Line]]]:
    """Splits what was said after the line that ends each reader."""
    said: list[Line] = []
    for line in lines:
        said.append(line)
        if "ended" in line:
            yield line["reader"], said
            said = []


def row(lines: Sequence[Line], count: int) -> dict[str, Any]:
    """How the `count` files of one reader ended.

    Args:
        lines: what was said of it; of each file when it was begun and when it was done.
    """
    done = [line for line in lines if "outcome" in line]
    found = Counter(_kind(line) for line in done)
    ended = lines[-1]["ended"]
    if ended:
        # The watch over the time ends the process with 1, a crash with a signal.
        found["hung" if ended > 0 else "crashed"] += 1
    found["not reached"] = count - found.total()
    seconds = [line["seconds"] for line in done]
    return {
        "files": count,
        "refused": found["refused"],
        "read": found["read"],
        **{kind: found[kind] for kind in MAY_NOT},
        "slowest_seconds": round(max(seconds, default=0.0), 1),
        "faults": [
            f"case {line['case']}, {line['name']}" for line in done if _kind(line) in MAY_NOT
        ][:SHOWN],
    }


def _kind(line: Line) -> str:
    if line["outcome"] != "forbidden":
        return str(line["outcome"])
    return "acted" if line.get("acted") else "failed otherwise"


def total(rows: Iterable[dict[str, Any]]) -> dict[str, int]:
    """The counts of all readers together."""
    kept = list(rows)
    return {kind: sum(r[kind] for r in kept) for kind in ("files", "refused", "read", *MAY_NOT)}


@click.command()
@click.option("--count", default=500, show_default=True, help="Files for each reader.")
@click.option(
    "--results", type=click.Path(path_type=Path), default=RESULTS / "corrupted_files.json"
)
def main(count: int, results: Path) -> None:
    """Sends damaged files through every reader and counts how each ended."""
    rows = {}
    with tempfile.TemporaryDirectory() as name:
        for reader, said in by_reader(lines_of(count, Path(name) / "files")):
            rows[reader] = row(said, count)
            logger.info("%s: %s", reader, rows[reader])
    together = total(rows.values())
    command = ["python", "-m", "benchmarks.corrupted_files", "--count", str(count)]
    write_results(results, command, {"total": together, "readers": rows})
    click.echo(", ".join(f"{number} {kind}" for kind, number in together.items()))
    sys.exit(1 if any(together[kind] for kind in MAY_NOT) else 0)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    main()
