"""What real images would bring in the pool's place: results/with-data-ROW.json.

    python -m benchmarks.paper.with_data fashion-mnist-lenet5 --out runs/paper

A bound, not a method: teacher, student, training and number of images are those of a row, but a
share of the pool is replaced by real training images, whose labels nobody looks at. What is left
between such a student and the row's is due to the images alone; what is left to the teacher, to the
student and its training.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import click
import torch

from benchmarks.paper.data import absent, training_set
from benchmarks.paper.points import numbers, over_seeds
from benchmarks.paper.pools import pool_of
from benchmarks.paper.rows import ROWS, Row
from benchmarks.paper.run import teacher_of
from benchmarks.paper.taught import taught
from benchmarks.results_files import RESULTS, write_results
from cake_edge.pool import Pool
from cake_edge.samplers.base import judge
from cake_edge.seeding import generator
from cake_edge.storage import decoded
from cake_edge.stored_images import HeldImages
from cake_edge.teachers.frozen import FrozenTeacher
from cake_edge.views import Views

__all__ = ["blended", "percentages"]

JUDGED = 250
_OPEN = sorted(name for name, row in ROWS.items() if row.dataset == "fashion-mnist")
"""The rows whose training images may be shown to a student; others' are for evaluation alone."""


def percentages(_context: object, _parameter: object, text: str) -> tuple[int, ...]:
    """Reads comma-separated percentages, for an option."""
    found = numbers(_context, _parameter, text)
    if max(found) > 100:
        raise click.BadParameter(f"{text!r}: a share is at most 100")
    return found


def blended(
    pool: Pool, real: torch.Tensor, teacher: FrozenTeacher, percent: int, seed: int
) -> tuple[HeldImages, torch.Tensor]:
    """Returns as many images as the pool has, a share of them real, and the teacher's logits.

    Args:
        real: [N, C, H, W], normalised.
        percent: of the pool that is replaced; where N is less, of N.
        seed: of the choice.
    """
    random = generator(seed, "with data")
    count = min(len(real), round(len(pool.logits()) * percent / 100))
    chosen = real[torch.randperm(len(real), generator=random)[:count]]
    kept = torch.randperm(len(pool.logits()), generator=random)[: len(pool.logits()) - count]
    images = torch.cat([chosen.half(), pool.images().gather(kept).half()])
    logits = judge(teacher, images[:count].float(), JUDGED)
    return HeldImages(images, teacher.spec), torch.cat([logits, pool.logits()[kept]])


def measured(
    row: Row, teacher: FrozenTeacher, real: torch.Tensor, folder: Path, *, percent: int, seed: int
) -> dict[str, Any]:
    """Makes one student of a pool that is real in part, and evaluates it."""
    pool, _ = pool_of(row, teacher, folder, seed, 1)
    images, logits = blended(pool, real, teacher, percent, seed)

    def views_of(_student: object) -> Any:
        def made(_images: object, _logits: object, *given: Any, **named: Any) -> Views:
            return Views(images, logits, *given, **named)

        return made

    return taught(
        row, teacher, pool, folder, key=f"{percent} percent real", seed=seed, views_of=views_of
    )


def _real(row: Row, teacher: FrozenTeacher) -> torch.Tensor:
    return decoded(torch.from_numpy(training_set(row.dataset)[0]).permute(0, 3, 1, 2), teacher.spec)


@click.command()
@click.argument("name", metavar="ROW", type=click.Choice(_OPEN))
@click.option("--shares", default="0,10,100", show_default=True, callback=percentages,
              help="Percent of the pool that real images take, comma-separated.")  # fmt: skip
@click.option("--steps", type=int, help="Of distillation; the row's where none are given.")
@click.option("--seeds", default="0", show_default=True, callback=numbers, help="Comma-separated.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder of the runs.")
def main(
    name: str, shares: tuple[int, ...], steps: int | None, seeds: tuple[int, ...], out: Path
) -> None:
    """Measures every share with every seed."""
    torch.set_num_threads(1)
    row = ROWS[name]
    if steps:
        row = replace(row, training=replace(row.training, steps=steps))
    lacking = absent(row.dataset)
    if lacking:
        raise click.ClickException(f"{name} cannot be measured here: it needs {lacking}")
    teacher = teacher_of(row, out)
    real = _real(row, teacher)
    found: dict[int, dict[int, dict[str, Any]]] = {share: {} for share in shares}
    for seed in seeds:
        for share in shares:
            found[share][seed] = one = measured(row, teacher, real, out, percent=share, seed=seed)
            click.echo(f"{share} % real, seed {seed}: {one['agreement']:.2f} % agreement, "
                       f"{one['top1']:.2f} % top-1", err=True)  # fmt: skip
    command = ["python", "-m", "benchmarks.paper.with_data", name,
               "--shares", ",".join(str(share) for share in shares),
               *(["--steps", str(steps)] if steps else []),
               "--seeds", ",".join(str(seed) for seed in seeds), "--out", "runs/paper"]  # fmt: skip
    write_results(RESULTS / f"with-data-{name}.json", command, {
        "row": name,
        "images": row.images,
        "sampler": {"name": row.sampler.name, **row.sampler.to_dict()},
        "training": asdict(row.training),
        "summary": {str(share): _over(seeds) for share, seeds in found.items()},
        "measured": {
            str(share): {str(seed): one for seed, one in seeds.items()}
            for share, seeds in found.items()
        },
    })  # fmt: skip


def _over(seeds: Mapping[int, Mapping[str, Any]]) -> dict[str, Any]:
    return {
        key: over_seeds(float(one[key]) for one in seeds.values()) for key in ("top1", "agreement")
    }


if __name__ == "__main__":
    main()
