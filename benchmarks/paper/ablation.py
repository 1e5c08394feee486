"""`cake` with one ingredient left out at a time: results/ablation-DATASET.json, and a table.

    python -m benchmarks.paper.ablation --dataset fashion-mnist --steps 4000 --out runs/ablation

Every variant has as many images and as many steps of training as the whole; what is left out of the
synthesis can save image-steps, which stand beside it. Differences are taken seed by seed. Variants
that share their images share the pool. Students that are finished in --out are not made again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import click
import torch

from benchmarks.paper.points import BASES, numbers, over_seeds, pairs, subject
from benchmarks.paper.rows import Row
from benchmarks.paper.run import measured, teacher_of
from benchmarks.results_files import RESULTS, write_results
from cake_edge.distill_config import DistillConfig
from cake_edge.samplers import CakeConfig
from cake_edge.teachers.frozen import FrozenTeacher

__all__ = ["VARIANTS", "WHOLE", "Variant", "markdown_table", "summary"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """What differs from the whole, as values of settings."""

    title: str
    """As the table says it."""
    sampler: Mapping[str, Any] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)


WHOLE = "whole"
VARIANTS: dict[str, Variant] = {
    WHOLE: Variant(title="nothing: the whole"),
    "prior": Variant(title="structured images: white noise instead", sampler={"prior": "gaussian"}),
    "pool-balance": Variant(title="class balance of the pool", sampler={"oversample": 1}),
    "view-balance": Variant(title="class balance of the views", training={"balance": False}),
    "starts": Variant(
        title="pushing what the teacher is surest of: any", sampler={"starts": "any"}
    ),
    "towards": Variant(title="pushing to near classes: to any", sampler={"towards": "any"}),
    "jitter": Variant(title="jitter while pushing", sampler={"jitter": 0.0}),
    "no-contrast": Variant(
        title="having no contrastive term: weights from 0.001 to 0.05",
        sampler={"contrast": (0.001, 0.05)},
    ),
    "pushing": Variant(title="pushed images: the prior alone", sampler={"pushed_share": 0.0}),
    "snapshots": Variant(title="snapshots but the last", sampler={"snapshots": 1}),
    "mixup": Variant(title="mixup", training={"mixed": 0.0}),
    "temperature": Variant(title="temperature: 1 instead", training={"temperature": 1.0}),
    "motion": Variant(title="augmentation: flips alone", training={"motion": 0.0}),
    "inheritance": Variant(title="inherited weights", training={"inherit": False}),
    "muon": Variant(title="Muon: AdamW", training={"optimiser": "adamw", "learning_rate": 0.004}),
    "length": Variant(
        title="the length set beforehand: until settled", training={"schedule": "until-settled"}
    ),
    "float16": Variant(title="float16: a pool of bytes", sampler={"stored": "uint8"}),
    "average": Variant(title="moving average of weights", training={"average": 0.0}),
}
"""Name -> what is left out; another ingredient is another line."""


def changed(row: Row, variant: Variant) -> Row:
    """Returns the row without what the variant leaves out."""
    assert isinstance(row.sampler, CakeConfig)
    return replace(
        row,
        sampler=replace(row.sampler, **variant.sampler),
        training=replace(row.training, **variant.training),
    )


def measured_all(
    row: Row,
    teachers: Callable[[int], FrozenTeacher],
    folder: Path,
    *,
    names: Sequence[str],
    seeds: Sequence[int],
    workers: int,
) -> dict[str, dict[int, dict[str, Any]]]:
    """Returns what was measured, by variant and seed; a seed is finished before the next.

    Args:
        teachers: seed -> its teacher, of which all its students learn.
    """
    found: dict[str, dict[int, dict[str, Any]]] = {name: {} for name in names}
    for seed in seeds:
        teacher = teachers(seed)
        for name in names:
            at = changed(row, VARIANTS[name])
            place = folder / f"{row.dataset}-without-{name}" / f"seed{seed}"
            found[name][seed] = one = measured(
                at, teacher, place, folder, seed=seed, workers=workers
            )
            click.echo(
                f"without {name}, seed {seed}: {one['agreement']:.2f} % agreement, "
                f"{one['top1']:.2f} % top-1",
                err=True,
            )
    return found


def summary(found: Mapping[str, Mapping[int, Mapping[str, Any]]]) -> dict[str, Any]:
    """Returns mean, deviation and difference to the whole, by variant."""
    whole, rows = found[WHOLE], {}
    for name, seeds in found.items():
        rows[name] = {
            "title": VARIANTS[name].title,
            "image_steps": next(iter(seeds.values()))["image_steps"],
        }
        for key in ("top1", "agreement"):
            values = [float(seeds[seed][key]) for seed in whole]
            differences = pairs(values, (float(one[key]) for one in whole.values()))
            rows[name][key] = over_seeds(values)
            rows[name][f"{key}_difference"] = over_seeds(differences)
    return rows


def markdown_table(said: Mapping[str, Any]) -> str:
    """Returns the table of a results file, in percent and points."""
    lines = [
        "| left out | top-1 | difference | agreement | difference | image-steps |",
        "|---|---|---|---|---|---|",
    ]
    for name, row in said["summary"].items():
        cells = [row["title"]]
        for key in ("top1", "agreement"):
            cells.append(_plus_minus(row[key], ""))
            cells.append("" if name == WHOLE else _plus_minus(row[f"{key}_difference"], "+"))
        lines.append(f"| {' | '.join(cells)} | {row['image_steps']:,} |")
    return "\n".join(lines)


def _plus_minus(value: Mapping[str, float | None], sign: str) -> str:
    deviation = value["deviation"]
    return f"{value['mean']:{sign}.2f}" + ("" if deviation is None else f" ± {deviation:.2f}")


@click.command()
@click.option("--dataset", type=click.Choice(sorted(BASES)), required=True)
@click.option("--images", default=24_000, show_default=True, help="In every pool.")
@click.option("--steps", default=DistillConfig().steps, show_default=True, help="Of distillation.")
@click.option("--seeds", default="0,1,2", show_default=True, callback=numbers,
              help="Comma-separated.")  # fmt: skip
@click.option("--without", default=",".join(name for name in VARIANTS if name != WHOLE),
              show_default=True, help="What is left out, comma-separated.")  # fmt: skip
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder of the runs.")
@click.option("--workers", default=2, show_default=True)
@click.option("--results", type=click.Path(path_type=Path), help="JSON file.")
def main(
    dataset: str,
    images: int,
    steps: int,
    seeds: tuple[int, ...],
    without: str,
    out: Path,
    workers: int,
    results: Path | None,
) -> None:
    """Measures every variant; students that are finished in --out are not made again."""
    torch.set_num_threads(1)
    names = [WHOLE, *without.split(",")]
    unknown = [name for name in names if name not in VARIANTS]
    if unknown:
        raise click.BadParameter(f"no {unknown[0]!r}; there are: {', '.join(VARIANTS)}")
    name, row, _ = subject(dataset, out, steps)
    row = replace(row, images=images)
    teachers = partial(teacher_of, row, out)
    found = measured_all(row, teachers, out, names=names, seeds=seeds, workers=workers)
    command = ["python", "-m", "benchmarks.paper.ablation", "--dataset", dataset,
               "--images", str(images), "--steps", str(steps),
               "--seeds", ",".join(str(seed) for seed in seeds), "--without", without,
               "--out", "runs/ablation", "--workers", str(workers)]  # fmt: skip
    said = {**_about(row, name, names), "summary": summary(found), "measured": _by_text(found)}
    write_results(results or RESULTS / f"ablation-{dataset}.json", command, said)
    click.echo(markdown_table(said))


def _about(row: Row, name: str, found: Sequence[str]) -> dict[str, Any]:
    return {
        "row": name,
        "dataset": row.dataset,
        "teacher": asdict(row.teacher),
        "student": asdict(row.student),
        "images": row.images,
        "sampler": {"name": row.sampler.name, **row.sampler.to_dict()},
        "training": asdict(row.training),
        "left_out": {
            name: {"sampler": dict(variant.sampler), "training": dict(variant.training)}
            for name, variant in VARIANTS.items()
            if name in found
        },
    }


def _by_text(found: Mapping[str, Mapping[int, Mapping[str, Any]]]) -> dict[str, Any]:
    return {
        name: {str(seed): dict(one) for seed, one in seeds.items()} for name, seeds in found.items()
    }


if __name__ == "__main__":
    main()
