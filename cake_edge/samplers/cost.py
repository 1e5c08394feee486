"""What a pool costs: so that samplers can be compared at equal budgets, before anything is made."""

from __future__ import annotations

import math
from typing import cast

from cake_edge.samplers.base import SamplerConfig
from cake_edge.samplers.cake import CakeConfig
from cake_edge.samplers.cake_paper import CakePaperConfig
from cake_edge.samplers.common import Cost

__all__ = ["pool_cost"]


def pool_cost(config: SamplerConfig, count: int, classes: int) -> Cost:
    """Returns how often a teacher of `classes` is asked for a pool of `count` images.

    Exact for a pool that is made in one go by one process; the test of every sampler counts.
    """
    if isinstance(config, CakePaperConfig):
        batches = math.ceil(count / config.batch)
        return Cost(image_steps=batches * config.batch * config.steps, looks=count)
    if isinstance(config, CakeConfig):
        return _of_cake(config, count, classes)
    return cast(Cost, config.cost(count, classes))  # type: ignore[attr-defined]


def _of_cake(config: CakeConfig, count: int, classes: int) -> Cost:
    """As `CakeSampler.shard` does: a part is pushed in whole tuples, the rest is looked at."""
    size, levels = min(config.tuple_size, classes), len(config.snapshot_steps())
    steps = looks = 0
    for start in range(0, count, config.images_per_shard):
        images = min(config.images_per_shard, count - start)
        starts = math.ceil(images * config.pushed_share / levels)
        pushed = min(images, starts * levels)
        steps += math.ceil(starts / size) * size * config.steps
        looks += max(starts, images - pushed) * config.oversample + starts * levels
        looks += 0 if config.stored == "float32" else images
    return Cost(image_steps=steps, looks=looks)
