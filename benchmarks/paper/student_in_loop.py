"""Whether a student should have a say in what it is shown: results/student-in-loop-DATASET.json.

    python -m benchmarks.paper.student_in_loop --dataset fashion-mnist --out runs/loop

Four ways of drawing views from the same pool, at the same number of steps, and what the time that
asking takes would bring without it:

* nobody asked: `Views`, what `distill` does;
* disagreement: every fourth batch is pushed, in coarse cells, to where teacher and student differ
  most; what the teacher then takes for another class is put back (masked); the rest goes into a
  bank that forgets the oldest, and a quarter of every later batch is drawn from it (replayed);
* hardest: of twice as many views half a batch is those on which the two differ most;
* self-paced: images far along their trajectories are held back in the first half of the training;
* twice as long: nobody asked, at twice the steps.

None of them is in the product unless it earns its place here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import click
import torch
from torch import nn
from torch.nn import functional

from benchmarks.paper.points import BASES, numbers, over_seeds, pairs, subject
from benchmarks.paper.pools import pool_of
from benchmarks.paper.rows import Row
from benchmarks.paper.taught import taught
from benchmarks.results_files import RESULTS, write_results
from cake_edge.distill_config import DistillConfig
from cake_edge.pool import Pool
from cake_edge.precision import mixed
from cake_edge.samplers.common import pixel_box
from cake_edge.seeding import generator
from cake_edge.teachers.frozen import FrozenTeacher
from cake_edge.views import Views

__all__ = ["WAYS", "Disagreement", "Hardest", "SelfPaced"]

EVERY, PUSHES, REACH, CELLS = 4, 3, 0.1, 8
"""Batches between pushes, steps of one, the most that a step moves a pixel on average, cells."""
BANK, REPLAYED = 80, 0.25
"""Batches that the bank holds, and the share of a batch that comes from it."""
TEMPERATURE = 2.0


class Asking(Views):
    """Views that ask the student."""

    student: nn.Module

    def difference(self, images: torch.Tensor) -> torch.Tensor:
        """How far the student's answers are from the teacher's, [N]."""
        with mixed(self.config.precision, images.device):
            wanted, given = self.teacher(images).float(), self.student(images).float()
        exact = (wanted / TEMPERATURE).log_softmax(1)
        rest = exact - (given / TEMPERATURE).log_softmax(1)
        found: torch.Tensor = torch.linalg.vecdot(exact.exp(), rest)
        return found


def in_coarse_cells(gradient: torch.Tensor, cells: int) -> torch.Tensor:
    """Returns of a gradient [N, C, H, W] what `cells` a side can show, smooth between them.

    Followed, it moves regions, not pixels: what a network answers to fine noise is left alone.
    """
    height, width = gradient.shape[2:]
    coarse = functional.adaptive_avg_pool2d(gradient, (min(cells, height), min(cells, width)))
    return functional.interpolate(coarse, (height, width), mode="bilinear", align_corners=False)


class Disagreement(Asking):
    """Pushes views to where teacher and student differ, and shows them again later."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self._std, self._bounds = pixel_box(self.teacher.spec, self.teacher.device)
        self._bank: list[tuple[torch.Tensor, torch.Tensor]] = []

    def step(self, step: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Returns views and logits: pushed ones in turn, others with some of the bank."""
        images, logits = super().step(step)
        random = generator(self.seed, "disagreement", step, device=images.device)
        if step % EVERY == 0 and step >= self.last // 20:
            images, logits = self._pushed(images, logits, random)
            self._bank = [*self._bank, (images.half(), logits)][-BANK:]
        elif self._bank:
            count = int(len(images) * REPLAYED)
            place = torch.randint(len(self._bank), (), generator=random, device=random.device)
            kept, said = self._bank[int(place)]
            chosen = torch.randperm(len(kept), generator=random, device=random.device)[:count]
            images = torch.cat([images[count:], kept[chosen].float()])
            logits = torch.cat([logits[count:], said[chosen]])
        return images, logits

    def _pushed(
        self, images: torch.Tensor, logits: torch.Tensor, random: torch.Generator
    ) -> tuple[torch.Tensor, torch.Tensor]:
        self.student.eval()
        share = torch.rand(len(images), 1, 1, 1, generator=random, device=random.device)
        reach = share * REACH / self._std
        moved = images
        for _ in range(PUSHES):
            moved = moved.detach().requires_grad_()
            (slope,) = torch.autograd.grad(self.difference(moved).sum(), moved)
            slope = in_coarse_cells(slope, CELLS)
            size = slope.square().mean((1, 2, 3), keepdim=True).sqrt() + 1e-12
            moved = torch.clamp(moved.detach() + slope / size * reach, *self._bounds)
        self.student.train()
        with torch.no_grad(), mixed(self.config.precision, images.device):
            after = self.teacher(moved).float()
        same = after.argmax(1) == logits.argmax(1)
        shown = torch.where(same.view(-1, 1, 1, 1), moved, images)
        return shown, torch.where(same.view(-1, 1), after, logits)


class Hardest(Asking):
    """Shows, of twice as many views, more of those on which the student is wrong."""

    def __init__(
        self, images: Any, logits: Any, teacher: Any, config: Any, **settings: Any
    ) -> None:
        super().__init__(
            images, logits, teacher, replace(config, batch=2 * config.batch), **settings
        )

    def step(self, step: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Returns half a batch of the hardest, and half of what chance takes of the rest."""
        images, logits = super().step(step)
        self.student.eval()
        with torch.no_grad():
            order = self.difference(images).argsort(descending=True)
        self.student.train()
        half, batch = len(images) // 4, len(images) // 2
        random = generator(self.seed, "hardest", step)
        others = order[half:][torch.randperm(len(order) - half, generator=random)]
        chosen = torch.cat([order[:half], others[: batch - half]])
        return images[chosen], logits[chosen]


class SelfPaced(Views):
    """Begins with the prior's images, and lets the pushed ones in one after the other."""

    levels: torch.Tensor
    """[N], the step of its trajectory at which an image of the pool was kept."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        along = torch.argsort(self.levels.to(self.logits.device), stable=True)
        label = self.logits.argmax(1)
        self.order = along[torch.argsort(label[along], stable=True)]
        self._prior = float((self.levels == 0).double().mean())

    def _draw(self, step: int, random: torch.Generator) -> torch.Tensor:
        allowed = self._prior + (1 - self._prior) * min(1.0, 2 * step / self.last)
        whole, self.sizes = self.sizes, (self.sizes * allowed).ceil().long()
        drawn = super()._draw(step, random)
        self.sizes = whole
        return drawn


WAYS: dict[str, tuple[type[Views], int]] = {
    "nobody asked": (Views, 1),
    "twice as long": (Views, 2),
    "disagreement": (Disagreement, 1),
    "hardest": (Hardest, 1),
    "self-paced": (SelfPaced, 1),
}
"""Name -> (how views are drawn, times the steps)."""


def _views_of(way: type[Views], student: nn.Module, levels: torch.Tensor) -> type[Views]:
    bound: type[Views] = type(way.__name__, (way,), {"student": student, "levels": levels})
    return bound


def measured(
    way: str, row: Row, teacher: FrozenTeacher, pool: Pool, folder: Path, seed: int
) -> dict[str, Any]:
    """Trains one student and evaluates the moving average of its weights."""
    levels = torch.cat([shard.steps for shard in pool.shards()])
    drawn, times = WAYS[way]
    longer = replace(row, training=replace(row.training, steps=times * row.training.steps))
    return taught(
        longer, teacher, pool, folder, key=way, seed=seed,
        views_of=lambda student: _views_of(drawn, student, levels),
    )  # fmt: skip


def summary(found: Mapping[str, Mapping[int, Mapping[str, Any]]]) -> dict[str, Any]:
    """Returns mean and deviation by way, and the difference to where nobody is asked."""
    plain = found["nobody asked"]
    rows: dict[str, Any] = {}
    for way, seeds in found.items():
        rows[way] = {}
        for key in ("top1", "agreement", "seconds"):
            values = [float(seeds[seed][key]) for seed in plain]
            rows[way][key] = over_seeds(values)
            differences = pairs(values, (float(one[key]) for one in plain.values()))
            rows[way][f"{key}_difference"] = over_seeds(differences)
    return rows


@click.command()
@click.option("--dataset", type=click.Choice(sorted(BASES)), required=True)
@click.option("--images", default=24_000, show_default=True, help="In every pool.")
@click.option("--steps", default=DistillConfig().steps, show_default=True, help="Of distillation.")
@click.option("--seeds", default="0,1,2", show_default=True, callback=numbers,
              help="Comma-separated.")  # fmt: skip
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder of the pools.")
def main(dataset: str, images: int, steps: int, seeds: tuple[int, ...], out: Path) -> None:
    """Measures every way with every seed."""
    torch.set_num_threads(1)
    name, row, teacher = subject(dataset, out, steps)
    row = replace(row, images=images)
    found: dict[str, dict[int, dict[str, Any]]] = {way: {} for way in WAYS}
    for seed in seeds:
        pool, _ = pool_of(row, teacher, out, seed, 1)
        for way in WAYS:
            found[way][seed] = one = measured(way, row, teacher, pool, out, seed)
            click.echo(f"{way}, seed {seed}: {one['agreement']:.2f} % agreement", err=True)
    command = ["python", "-m", "benchmarks.paper.student_in_loop", "--dataset", dataset,
               "--images", str(images), "--steps", str(steps),
               "--seeds", ",".join(str(seed) for seed in seeds), "--out", "runs/loop"]  # fmt: skip
    write_results(RESULTS / f"student-in-loop-{dataset}.json", command, {
        "row": name,
        "images": images,
        "sampler": {"name": row.sampler.name, **row.sampler.to_dict()},
        "training": asdict(row.training),
        "summary": summary(found),
        "measured": {way: {str(k): one for k, one in of.items()} for way, of in found.items()},
    })  # fmt: skip


if __name__ == "__main__":
    main()
