"""A pool, and the seconds that it took: also where it is only opened again."""

from __future__ import annotations

import time
from pathlib import Path

from benchmarks.paper.rows import Row
from cake_edge.pool import Pool, synthesize
from cake_edge.provenance import read_json, sha256_json, write_json
from cake_edge.samplers import GdfqConfig
from cake_edge.teachers.frozen import FrozenTeacher

__all__ = ["pool_of"]


def pool_of(
    row: Row, teacher: FrozenTeacher, folder: Path, seed: int, workers: int
) -> tuple[Pool, float]:
    """Returns the row's pool and the seconds that it took, which are kept beside it.

    Rows and comparisons that want the same images of one teacher share them. Seconds are those of
    the last go where one was interrupted.

    Args:
        folder: of the runs; pools lie in `pools` below it.
        seed: of the images.
        workers: processes that make them.
    """
    precision = row.training.precision
    made_of = [teacher.digest, row.sampler.name, row.sampler.to_dict(), row.images, precision]
    path = folder / "pools" / f"{row.dataset}-{sha256_json(made_of)[:12]}-seed{seed}"
    # Every process that draws from GDFQ's generator trains one first.
    alone = isinstance(row.sampler, GdfqConfig)
    started, clock = time.monotonic(), path.with_name(f"{path.name}-seconds.json")
    pool = synthesize(
        teacher, row.sampler, path, count=row.images, seed=seed, precision=precision,
        workers=1 if alone else workers,
    )  # fmt: skip
    if not clock.exists():
        write_json(clock, {"seconds": round(time.monotonic() - started, 1)})
    return pool, float(read_json(clock)["seconds"])
