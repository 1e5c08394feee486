"""A pool without gradients: the teacher sorts many prior images, and an even part is kept.

For teachers that answer and pass no gradient, and the cheapest of all samplers: an image costs one
look of the teacher. Sets that are balanced by the teacher's answers teach far better than those
that are not (Frank and Davis, "What makes a good dataset for knowledge distillation?", CVPR 2025).
Of every class the teacher sees, images are kept evenly over its confidence: sure ones lie inside
the class, unsure ones at its boundaries.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import torch

from cake_edge.batch import SyntheticBatch
from cake_edge.losses.head import head_of
from cake_edge.priors import PRIORS
from cake_edge.samplers.base import judge
from cake_edge.samplers.common import Cost, at_least_one, beyond_pixels, finished, shard_size
from cake_edge.samplers.optimise import balanced_selection
from cake_edge.seeding import generator
from cake_edge.storage import Stored, check_stored
from cake_edge.teachers.frozen import FrozenTeacher

__all__ = ["ForwardOnlyConfig", "selection"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ForwardOnlyConfig:
    """Settings of the sampler `forward-only`."""

    name: ClassVar[str] = "forward-only"
    prior: str = "structured"
    """Where images come from; a name in `cake_edge.priors.PRIORS`."""
    oversample: int = 10
    """Prior images drawn for every one that is kept."""
    bins: int = 4
    """Parts of the range of confidence between which a class is spread evenly."""
    images_per_shard: int = 480
    """Images a shard: the unit of resuming and of parallel work."""
    batch: int = 240
    """Images that pass the teacher at once. A shard holds `oversample` times its images besides."""
    stored: Stored = "float16"
    """What a value of an image is stored as: uint8, float16 or float32."""

    def __post_init__(self) -> None:
        PRIORS.check(self.prior)
        check_stored(self.stored, beyond_pixels(self.prior))
        at_least_one(self, "oversample", "bins", "images_per_shard", "batch")

    def build(self, teacher: FrozenTeacher, *, count: int, seed: int) -> ForwardOnlySampler:
        """Returns the sampler."""
        return ForwardOnlySampler(self, teacher, count, seed)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for the manifest."""
        return asdict(self)

    def cost(self, count: int, classes: int) -> Cost:
        """Returns what `count` images ask of the teacher: nothing passes backward."""
        return Cost(image_steps=0, looks=count * (self.oversample + 1))


class ForwardOnlySampler:
    """Draws, asks and keeps."""

    def __init__(
        self, config: ForwardOnlyConfig, teacher: FrozenTeacher, count: int, seed: int
    ) -> None:
        self.config, self.teacher, self.count, self.seed = config, teacher, count, seed

    def shard(self, index: int) -> SyntheticBatch:
        """Returns shard `index`: images without targets, in the order they were drawn."""
        config, spec = self.config, self.teacher.spec
        size = shard_size(config.images_per_shard, self.count, index)
        random = generator(self.seed, "forward-only", index, device=self.teacher.device)
        drawn = PRIORS[config.prior](size * config.oversample, spec, random)
        logits = judge(self.teacher, drawn, config.batch)
        confidence = head_of(spec).probabilities(logits).amax(1)
        lowest = 1 / spec.classes if spec.head == "softmax" else 0.0
        chosen = selection(logits.argmax(1), confidence, size, bins=config.bins, lowest=lowest)
        nobody = torch.full((size,), -1, device=random.device)
        return finished(
            self.teacher, drawn[chosen], nobody, steps=0, batch=config.batch, stored=config.stored
        )


def selection(
    labels: torch.Tensor, confidence: torch.Tensor, keep: int, *, bins: int, lowest: float
) -> torch.Tensor:
    """Returns which `keep` of N images make classes even, and bins of confidence in each class.

    Args:
        labels: [N] int64, the class the teacher sees in each image.
        confidence: [N], in [lowest, 1].
        keep: at most N.
        bins: equal parts of [lowest, 1].
        lowest: what an answer that says nothing has.
    """
    share = ((confidence - lowest) / (1 - lowest)).clamp(0, 1)
    cell = labels * bins + (share * bins).long().clamp_max(bins - 1)
    # In this order a class gives one image of each bin, then another of each that has one left:
    # what is kept of it is a beginning of its row.
    row = torch.argsort(_ranks(cell), stable=True)
    return row[balanced_selection(labels[row], keep)].sort().values


def _ranks(groups: torch.Tensor) -> torch.Tensor:
    """How many earlier entries are of the same group, [N]."""
    order = torch.argsort(groups, stable=True)
    ordered = groups[order]
    place = torch.arange(len(groups), device=groups.device)
    ranks = torch.empty_like(place)
    ranks[order] = place - torch.searchsorted(ordered, ordered)
    return ranks
