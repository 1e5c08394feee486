"""Whether the stored students are what their results say: `make paper-check`, some seconds.

    python -m benchmarks.paper.check

Evaluates every student in results/paper on the whole real test set; exit 1 where one has another
accuracy than its file states. A row whose test set is not on this machine is named and left out.
"""

from __future__ import annotations

from pathlib import Path

import click
import torch

from benchmarks.paper.data import absent, evaluation_set
from benchmarks.paper.rows import ROWS
from benchmarks.paper.run import KEPT, accuracy
from cake_edge.provenance import read_json, sha256_file

__all__ = ["difference"]

TOLERANCE = 0.05
"""Percent: an image or five of ten thousand lie so near a boundary that a processor decides."""


def difference(result: Path, folder: Path) -> str | None:
    """Returns how a stored student differs from what is said of it; None where it does not."""
    said = read_json(result)
    kept, row = said["kept"], ROWS[said["row"]]
    student = result.parent / kept["file"]
    if sha256_file(student) != kept["sha256"]:
        return f"{student.name} is not the file that was measured"
    stated = said["measured"][str(kept["seed"])]["top1"]
    found = accuracy(student, evaluation_set(row.dataset, folder))
    if abs(found - stated) > TOLERANCE:
        return f"{student.name} has {found:.2f} % top-1, its results say {stated:.2f} %"
    return None


@click.command()
@click.option("--out", type=click.Path(path_type=Path), default=Path("runs/paper"),
              show_default=True, help="Where the test set is put in order.")  # fmt: skip
def main(out: Path) -> None:
    """Checks every row in results/paper."""
    torch.set_num_threads(1)
    wrong = 0
    for result in sorted(KEPT.glob("*.json")):
        said = read_json(result)
        lacking = absent(said["dataset"])
        if said["kept"] is None or lacking:
            why = f"it needs {lacking}" if lacking else "its student is not kept"
            click.echo(f"{result.stem}: not checked, {why}")
            continue
        problem = difference(result, out)
        wrong += problem is not None
        click.echo(f"{result.stem}: {problem or 'as stated'}")
    raise SystemExit(1 if wrong else 0)


if __name__ == "__main__":
    main()
