"""Whether a student's batch norms remember the wrong things: results/batch_norm_statistics.json.

    python -m benchmarks.paper.statistics cifar10-resnet20 --out runs/paper

A student's running means and variances are those of synthetic views. The finished student of a row
is evaluated as it is, and with statistics estimated anew: over the views it was trained on, over
unmixed views, over the pool's images as they are, and, for a bound that nobody without data can
reach, over the real images it is evaluated on. Runs after `benchmarks.paper.run` of the row.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import torch
from torch import nn

from benchmarks.paper.data import evaluation_set
from benchmarks.paper.pools import pool_of
from benchmarks.paper.rows import ROWS, Row
from benchmarks.paper.run import agreement, teacher_of
from benchmarks.results_files import RESULTS, write_results
from cake_edge.checkpoint import load_checkpoint
from cake_edge.evaluate import open_dataset
from cake_edge.hooks import statistics_layers
from cake_edge.pool import Pool
from cake_edge.teachers.frozen import FrozenTeacher
from cake_edge.views import Views

__all__ = ["restated"]

BATCHES = 40


def restated(network: nn.Module, batches: Iterator[torch.Tensor]) -> nn.Module:
    """Returns a copy whose batch norms remember the mean statistics of these batches."""
    network = copy.deepcopy(network)
    for layer in statistics_layers(network).values():
        layer.reset_running_stats()  # type: ignore[operator]
        layer.momentum = None  # type: ignore[assignment]  # torch's word for a plain mean
    network.train()
    with torch.no_grad():
        for batch in batches:
            network(batch)
    return network.eval()


def _views(row: Row, teacher: FrozenTeacher, pool: Pool, **changes: Any) -> Iterator[torch.Tensor]:
    """Views that no step of the training drew."""
    config = replace(row.training.views(), **changes)
    first = row.training.steps
    logits = pool.logits().to(teacher.device)
    views = Views(pool.images(), logits, teacher, config, seed=0, first=first, last=first + BATCHES)
    return (images for images, _ in views)


def _real(row: Row, teacher: FrozenTeacher, folder: Path) -> Iterator[torch.Tensor]:
    dataset = open_dataset(evaluation_set(row.dataset, folder), teacher.spec)
    for number, (images, _) in enumerate(dataset.batches(row.training.batch)):
        if number == BATCHES:
            return
        yield torch.from_numpy(images).to(teacher.device)


@click.command()
@click.argument("name", metavar="ROW", type=click.Choice(sorted(ROWS)))
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder of the runs.")
def main(name: str, out: Path) -> None:
    """Measures one row, whose first seed must be finished in --out."""
    torch.set_num_threads(1)
    row, place = ROWS[name], out / name / "seed0"
    teacher = teacher_of(row, out)
    network, _ = load_checkpoint(place / "student.safetensors")
    network.to(teacher.device)
    if not statistics_layers(network):
        raise click.BadParameter(f"the student of {name} has no batch norms")
    pool, _ = pool_of(row, teacher, out, 0, 1)
    ways = {
        "as trained: the moving average": None,
        "the views of the training": _views(row, teacher, pool),
        "unmixed views": _views(row, teacher, pool, mixed=0.0),
        "the pool's images as they are": _views(row, teacher, pool, mixed=0.0, augment=False),
        "real images (not data-free: a bound)": _real(row, teacher, out),
    }
    found = {}
    for way, batches in ways.items():
        subject = network.eval() if batches is None else restated(network, batches)
        found[way] = agreement(row, teacher, subject, out)
        click.echo(f"{way}: {found[way]['agreement']:.2f} % agreement")
    command = ["python", "-m", "benchmarks.paper.statistics", name, "--out", "runs/paper"]
    write_results(
        RESULTS / "batch_norm_statistics.json", command,
        {"row": name, "seed": 0, "batches": BATCHES, "batch": row.training.batch, "found": found},
    )  # fmt: skip


if __name__ == "__main__":
    main()
