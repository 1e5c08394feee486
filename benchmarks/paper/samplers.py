"""Every sampler at equal budgets of image-steps: results/samplers-DATASET.json, and a plot.

    python -m benchmarks.paper.samplers --dataset cifar10 --steps 4000 --out runs/samplers

A budget is of image-steps, and a look counts as two fifths of one. A pool has as many images as it
pays for, with the sampler's defaults; `gdfq` gets as many images as `cake` has at that budget, and
trains its generator with what they leave. `cake-paper` has what its authors set for the data set,
in smaller mini-batches. All pools then teach the same student in the same way. It is evaluated
once, after the last step. Points that are finished in --out are not made again.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import click
import torch

from benchmarks.paper.plot import write_plot
from benchmarks.paper.points import BASES, numbers, over_seeds, subject
from benchmarks.paper.rows import Row
from benchmarks.paper.run import measured
from benchmarks.results_files import RESULTS, write_results
from cake_edge.distill_config import DistillConfig
from cake_edge.errors import UsageMistake
from cake_edge.hooks import statistics_layers
from cake_edge.samplers import SAMPLERS, CakeConfig, CakePaperConfig, GdfqConfig, SamplerConfig
from cake_edge.samplers.common import LOOK, Cost
from cake_edge.samplers.cost import pool_cost
from cake_edge.teachers.frozen import FrozenTeacher

__all__ = ["Plan", "affordable", "of_authors", "plans", "uses_statistics"]

OVER = 1.01
"""Times the budget that a pool may cost."""
AUTHORS = {
    "fashion-mnist": CakePaperConfig(),
    "cifar10": CakePaperConfig(contrast=10.0, variation=1e5),
}
"""Data set -> as released for it."""
BATCHES = 25
"""Mini-batches over which the step size of `cake-paper` falls where a budget has room for them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A pool at a budget, or why there is none."""

    sampler: SamplerConfig
    images: int
    why_not: str | None = None


def affordable(sampler: SamplerConfig, budget: int, classes: int) -> int:
    """Returns the most images that cost no more than the budget and a hundredth; 0 where none do.

    Every image is looked at, so the cost rises as images are added, and halving finds their number.
    """
    low, high = 0, 1
    while _total(sampler, high, classes) <= OVER * budget:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        if _total(sampler, middle, classes) <= OVER * budget:
            low = middle
        else:
            high = middle
    return low


def _total(sampler: SamplerConfig, count: int, classes: int) -> float:
    return pool_cost(sampler, count, classes).total


def of_authors(dataset: str, budget: int) -> CakePaperConfig:
    """Returns `cake-paper` as released for a data set, in mini-batches that suit a budget.

    Its step size falls over the mini-batches of a pool, 500 of 500 images as released; a small
    budget pays for one or two of those. Every term is a mean over the mini-batch, so that its
    weight shrinks with it: an image moves as it would in a large one.
    """
    released = AUTHORS[dataset]
    tuples = budget // (released.steps * released.tuple_size * BATCHES)
    batch = min(released.batch, released.tuple_size * max(1, tuples))
    share = batch / released.batch
    return replace(
        released,
        batch=batch,
        classification=share * released.classification,
        contrast=share * released.contrast,
        variation=share * released.variation,
    )


def plans(teacher: FrozenTeacher, dataset: str, budget: int) -> dict[str, Plan]:
    """Returns what is to be made at a budget, by the sampler's name.

    Raises:
        UsageMistake: not even `cake` can make an image of the budget.
    """
    classes = teacher.spec.classes
    alike = affordable(CakeConfig(), budget, classes)
    if not alike:
        least = math.ceil(_total(CakeConfig(), 1, classes))
        raise UsageMistake(
            f"a budget of {budget} image-steps is too small; cake needs {least} at the least"
        )
    settings = {name: kind() for name, kind in SAMPLERS.items()}
    if "cake-paper" in settings:
        settings["cake-paper"] = of_authors(dataset, budget)
    return {name: _plan(sampler, teacher, budget, alike) for name, sampler in settings.items()}


def _plan(sampler: SamplerConfig, teacher: FrozenTeacher, budget: int, alike: int) -> Plan:
    if isinstance(sampler, GdfqConfig):
        looks = LOOK * pool_cost(sampler, alike, teacher.spec.classes).looks
        steps = int((budget - looks) // sampler.train_batch)
        sampler = replace(sampler, train_steps=max(1, steps))
        images = alike if steps > 0 else 0
    else:
        images = affordable(sampler, budget, teacher.spec.classes)
    try:
        sampler.build(teacher, count=max(1, images), seed=0)
    except UsageMistake as error:
        return Plan(sampler=sampler, images=0, why_not=str(error))
    if images == 0:
        least = math.ceil(_total(sampler, 1, teacher.spec.classes))
        why = f"its smallest pool costs {least} image-steps"
        return Plan(sampler=sampler, images=0, why_not=why)
    return Plan(sampler=sampler, images=images)


def uses_statistics(sampler: SamplerConfig, teacher: FrozenTeacher) -> bool:
    """Tells whether BatchNorm statistics of this teacher shape the images."""
    weight = getattr(sampler, "statistics", 0)
    return bool(weight) and bool(statistics_layers(teacher.network))


def _about(row: Row, name: str, seeds: Sequence[int], budgets: Sequence[int]) -> dict[str, Any]:
    return {
        "row": name,
        "dataset": row.dataset,
        "teacher": asdict(row.teacher),
        "student": asdict(row.student),
        "training": asdict(row.training),
        "budgets": list(budgets),
        "seeds": list(seeds),
    }


def _point(budget: int, plan: Plan, found: Mapping[int, Mapping[str, Any]]) -> dict[str, Any]:
    """One dot of the plot: a sampler at a budget, over the seeds."""
    first = next(iter(found.values()))
    return {
        "budget": budget,
        "settings": plan.sampler.to_dict(),
        **{key: first[key] for key in ("images", "image_steps", "looks", "views")},
        "total": Cost(image_steps=first["image_steps"], looks=first["looks"]).total,
        "top1": over_seeds(one["top1"] for one in found.values()),
        "agreement": over_seeds(one["agreement"] for one in found.values()),
        "measured": {str(seed): dict(one) for seed, one in found.items()},
    }


def compared(
    row: Row,
    teacher: FrozenTeacher,
    folder: Path,
    *,
    budgets: Sequence[int],
    seeds: Sequence[int],
    workers: int,
) -> dict[str, Any]:
    """Returns points and what was left out, by sampler; the cheapest are made first."""
    found: dict[str, Any] = {
        name: {"uses_statistics": uses_statistics(kind(), teacher), "points": [], "left_out": []}
        for name, kind in SAMPLERS.items()
    }
    for budget in sorted(budgets):
        for name, plan in plans(teacher, row.dataset, budget).items():
            if plan.why_not:
                found[name]["left_out"].append({"budget": budget, "why": plan.why_not})
                click.echo(f"{budget:>9} {name}: left out, {plan.why_not}")
                continue
            at = replace(row, sampler=plan.sampler, images=plan.images)
            values = {}
            for seed in seeds:
                place = folder / f"{row.dataset}-{name}-{budget}" / f"seed{seed}"
                values[seed] = one = measured(
                    at, teacher, place, folder, seed=seed, workers=workers
                )
                click.echo(
                    f"{budget:>9} {name} seed {seed}: {one['agreement']:.2f} % agreement, "
                    f"{one['top1']:.2f} % top-1, {one['image_steps']} image-steps, "
                    f"{one['images']} images"
                )
            found[name]["points"].append(_point(budget, plan, values))
    return found


@click.command()
@click.option("--dataset", type=click.Choice(sorted(BASES)), required=True)
@click.option("--budgets", default="40000,160000,640000", show_default=True, callback=numbers,
              help="Image-steps, comma-separated.")  # fmt: skip
@click.option("--seeds", default="0", show_default=True, callback=numbers, help="Comma-separated.")
@click.option("--steps", default=DistillConfig().steps, show_default=True, help="Of distillation.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder of the runs.")
@click.option("--workers", default=2, show_default=True)
@click.option("--results", type=click.Path(path_type=Path), help="JSON file; the plot lies beside.")
def main(
    dataset: str,
    budgets: tuple[int, ...],
    seeds: tuple[int, ...],
    steps: int,
    out: Path,
    workers: int,
    results: Path | None,
) -> None:
    """Compares all samplers; points that are finished in --out are not made again."""
    torch.set_num_threads(1)
    name, row, teacher = subject(dataset, out, steps)
    found = compared(row, teacher, out, budgets=budgets, seeds=seeds, workers=workers)
    listed = [",".join(str(number) for number in series) for series in (budgets, seeds)]
    command = ["python", "-m", "benchmarks.paper.samplers", "--dataset", dataset,
               "--budgets", listed[0], "--seeds", listed[1], "--steps", str(steps),
               "--out", "runs/samplers", "--workers", str(workers)]  # fmt: skip
    said = {**_about(row, name, seeds, budgets), "samplers": found}
    path = results or RESULTS / f"samplers-{dataset}.json"
    write_results(path, command, said)
    write_plot(path.with_suffix(".svg"), said)


if __name__ == "__main__":
    main()
