"""LAKE: the explicit Langevin form of CAKE.

Braun, Mundt, Kersting, arXiv 2306.02090: x <- x - eta grad E(x) + sqrt(2 eta) N(0, I) samples from
the density exp(-E), E the paper's loss; eta falls along the way, so that the chain explores first
and settles then. `cake-paper` with `langevin=true` adds the same noise the way the authors released
it: there eta is one number a mini-batch and falls over the pool, and the weights of the loss are
tied to batch and tuple size. Here they are the paper's sums, one energy an image, and eta falls
over the trajectory of every image, as the paper's eta(t) does.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import torch

from cake_edge.batch import SyntheticBatch
from cake_edge.errors import NumericsError, UsageMistake
from cake_edge.losses.head import head_of
from cake_edge.losses.poster import pair_energy, summed_variation
from cake_edge.priors import PRIORS
from cake_edge.samplers.common import (
    Cost,
    at_least_one,
    finished,
    not_negative,
    positive,
    shard_size,
)
from cake_edge.samplers.optimise import draw_tuples
from cake_edge.schedules import log_linear
from cake_edge.seeding import generator
from cake_edge.storage import Stored, check_stored
from cake_edge.teachers.frozen import FrozenTeacher

__all__ = ["LakeConfig"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LakeConfig:
    """Settings of the sampler `lake`."""

    name: ClassVar[str] = "lake"
    prior: str = "gaussian"
    """Where images start; a name in `cake_edge.priors.PRIORS`."""
    tuple_size: int = 10
    """Images of distinct classes that are contrasted; at most the number of classes."""
    steps: int = 256
    """Steps of the chain (T)."""
    step_size: float = 1e-2
    """eta of the first step, in the normalised space."""
    decades: float = 3.0
    """Powers of ten by which eta falls along the chain."""
    classification: float = 20.0
    """Weight of the cross-entropy towards the target class."""
    contrast: float = 0.02
    """Weight of the squared logit distance of a pair of different classes."""
    variation: float = 2.0
    """Weight of the sum of steps between neighbouring values, in the normalised space."""
    images_per_shard: int = 480
    """Images a shard: the unit of resuming and of parallel work."""
    batch: int = 240
    """Images that pass the teacher at once, cut to whole tuples; bounds the memory."""
    stored: Stored = "float16"
    """What a value of an image is stored as: float16 or float32."""

    def __post_init__(self) -> None:
        PRIORS.check(self.prior)
        check_stored(self.stored, "the chains of lake go beyond them")
        at_least_one(self, "steps", "images_per_shard", "batch")
        positive(self, "step_size")
        not_negative(self, "decades", "classification", "contrast", "variation")
        if self.tuple_size < 2:
            raise UsageMistake(f"tuple_size is {self.tuple_size}; a pair needs at least 2")

    def build(self, teacher: FrozenTeacher, *, count: int, seed: int) -> LakeSampler:
        """Returns the sampler."""
        return LakeSampler(self, teacher, count, seed)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for the manifest."""
        return asdict(self)

    def cost(self, count: int, classes: int) -> Cost:
        """Returns what `count` images ask of a teacher of `classes`; tuples are filled up."""
        size, images = min(self.tuple_size, classes), 0
        for start in range(0, count, self.images_per_shard):
            images += -(-min(self.images_per_shard, count - start) // size) * size
        return Cost(image_steps=images * self.steps, looks=count)


class LakeSampler:
    """Runs one chain an image, whole tuples at a time."""

    def __init__(self, config: LakeConfig, teacher: FrozenTeacher, count: int, seed: int) -> None:
        self.config, self.teacher, self.count, self.seed = config, teacher, count, seed

    def shard(self, index: int) -> SyntheticBatch:
        """Returns shard `index`.

        Raises:
            NumericsError: the chain left the numbers that float32 has.
        """
        config, spec = self.config, self.teacher.spec
        count = shard_size(config.images_per_shard, self.count, index)
        random = generator(self.seed, "lake", index, device=self.teacher.device)
        size = min(config.tuple_size, spec.classes)
        tuples = -(-count // size)
        targets = draw_tuples(tuples, size, spec.classes, random)
        starts = PRIORS[config.prior](tuples * size, spec, random)
        at_once = max(1, config.batch // size)
        made = [
            self._chain(images, wanted, random)
            for images, wanted in zip(
                starts.split(at_once * size), targets.split(at_once), strict=True
            )
        ]
        return finished(
            self.teacher, torch.cat(made)[:count], targets.flatten()[:count],
            steps=config.steps, batch=config.batch, stored=config.stored,
        )  # fmt: skip

    def _chain(
        self, images: torch.Tensor, targets: torch.Tensor, random: torch.Generator
    ) -> torch.Tensor:
        """Runs the chains of tuples [T, G] from images [T * G, C, H, W]."""
        config, energy = self.config, self.energy(targets)
        for step in range(config.steps):
            rate = log_linear(step, config.steps, config.step_size, config.decades)
            images = images.detach().requires_grad_()
            (gradient,) = torch.autograd.grad(energy(images).sum(), images)
            noise = torch.randn(images.shape, generator=random, device=random.device)
            images = images.detach() - rate * gradient + (2 * rate) ** 0.5 * noise
        if not torch.isfinite(images).all():
            raise NumericsError(
                f"the chains of lake left the finite numbers within {config.steps} steps from a "
                f"step size of {config.step_size:g}; use a smaller step_size or smaller weights"
            )
        return images

    def energy(self, targets: torch.Tensor) -> Callable[[torch.Tensor], torch.Tensor]:
        """Returns images [T * G, C, H, W] -> [T * G] for targets [T, G]."""
        config, towards = self.config, head_of(self.teacher.spec).towards

        def energy(images: torch.Tensor) -> torch.Tensor:
            logits = self.teacher(images)
            return (
                config.classification * towards(logits, targets.flatten())
                + config.contrast * pair_energy(logits.view(*targets.shape, -1), targets).flatten()
                + config.variation * summed_variation(images)
            )

        return energy
