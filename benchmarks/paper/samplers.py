"""Every sampler at equal budgets of image-steps: results/samplers-DATASET.json, and a plot.

    python -m benchmarks.paper.samplers --dataset cifar10 --steps 4000 --out runs/samplers

A pool has the number of images whose image-steps come nearest to the budget, with the sampler's
defaults. Two samplers pay no image-steps by the image, and get as many images as `cake` has at that
budget: `forward-only`, which pays none at all, and `gdfq`, which spends the budget on training its
generator. All pools then teach the same student in the same way. It is evaluated once, after the
last step. Points that are finished in --out are not made again.
"""

from __future__ import annotations

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
from cake_edge.samplers import SAMPLERS, CakeConfig, GdfqConfig, SamplerConfig
from cake_edge.samplers.cost import image_steps
from cake_edge.teachers.frozen import FrozenTeacher

__all__ = ["Plan", "affordable", "plans", "uses_statistics"]

OVER = 1.01
"""Times the budget that a pool may cost."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A pool at a budget, or why there is none."""

    sampler: SamplerConfig
    images: int
    why_not: str | None = None


def affordable(sampler: SamplerConfig, budget: int, classes: int) -> int:
    """Returns the most images whose image-steps are nearest to the budget; 0 where none fit.

    The cost never falls as images are added, so both sides of the budget are found by halving.

    Raises:
        UsageMistake: the cost does not depend on the number of images.
    """
    within = _most(sampler, budget, classes)
    dearer = image_steps(sampler, within + 1, classes)
    if dearer > OVER * budget:
        return within
    if within and dearer - budget > budget - image_steps(sampler, within, classes):
        return within
    return _most(sampler, dearer, classes)


def _most(sampler: SamplerConfig, limit: int, classes: int) -> int:
    low, high = 0, 1
    while image_steps(sampler, high, classes) <= limit:
        low, high = high, 2 * high
        if high > limit * sampler.images_per_shard:
            raise UsageMistake(f"{sampler.name}: its image-steps say nothing of how many images")
    while high - low > 1:
        middle = (low + high) // 2
        if image_steps(sampler, middle, classes) <= limit:
            low = middle
        else:
            high = middle
    return low


def plans(teacher: FrozenTeacher, budget: int) -> dict[str, Plan]:
    """Returns what is to be made at a budget, by the sampler's name.

    Raises:
        UsageMistake: not even `cake` can make an image of the budget.
    """
    classes = teacher.spec.classes
    alike = affordable(CakeConfig(), budget, classes)
    if not alike:
        least = image_steps(CakeConfig(), 1, classes)
        raise UsageMistake(
            f"a budget of {budget} image-steps is too small; cake needs {least} at the least"
        )
    return {name: _plan(kind(), teacher, budget, alike) for name, kind in SAMPLERS.items()}


def _plan(sampler: SamplerConfig, teacher: FrozenTeacher, budget: int, alike: int) -> Plan:
    if isinstance(sampler, GdfqConfig):
        steps = budget // sampler.train_batch
        sampler = replace(sampler, train_steps=max(1, steps))
        images = alike if steps else 0
    elif image_steps(sampler, alike, teacher.spec.classes) == 0:
        images = alike
    else:
        images = affordable(sampler, budget, teacher.spec.classes)
    try:
        sampler.build(teacher, count=max(1, images), seed=0)
    except UsageMistake as error:
        return Plan(sampler=sampler, images=0, why_not=str(error))
    if images == 0:
        least = image_steps(sampler, 1, teacher.spec.classes)
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
        for name, plan in plans(teacher, budget).items():
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
