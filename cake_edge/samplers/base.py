"""The interface of all samplers: a pool is made shard by shard, each from its own seed."""

from __future__ import annotations

from typing import Any, ClassVar, Protocol

import torch

from cake_edge.batch import SyntheticBatch
from cake_edge.errors import NumericsError
from cake_edge.precision import mixed
from cake_edge.storage import Stored
from cake_edge.teachers.frozen import FrozenTeacher

__all__ = ["Sampler", "SamplerConfig", "judge"]


class Sampler(Protocol):
    """Makes the shards of one pool, each independent of the others."""

    def shard(self, index: int) -> SyntheticBatch:
        """Returns shard `index` on the teacher's device, whatever was made before."""


class SamplerConfig(Protocol):
    """Settings of a sampler: frozen, and able to build it."""

    name: ClassVar[str]

    @property
    def stored(self) -> Stored:
        """What images are stored as; the logits are taken on the stored values."""

    @property
    def images_per_shard(self) -> int:
        """Images in every shard but the last."""

    def build(self, teacher: FrozenTeacher, *, count: int, seed: int) -> Sampler:
        """Returns the sampler for a pool of `count` images.

        Raises:
            UsageMistake: a setting does not fit this teacher.
        """

    def to_dict(self) -> dict[str, Any]:
        """Plain values for the manifest."""


def judge(teacher: FrozenTeacher, images: torch.Tensor, batch: int) -> torch.Tensor:
    """Returns the teacher's logits [N, K] on images [N, C, H, W], in float32, without gradients.

    Raises:
        NumericsError: a logit is NaN or infinite.
    """
    with torch.no_grad(), mixed("float32", images.device):
        logits = torch.cat([teacher(part) for part in images.split(batch)])
    if not torch.isfinite(logits).all():
        bad = int((~torch.isfinite(logits)).any(1).sum())
        raise NumericsError(
            f"the teacher answers {bad} of {len(images)} synthetic images with NaN or infinity; "
            "check its weights, and the mean and std given for it"
        )
    return logits
