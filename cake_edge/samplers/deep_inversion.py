"""DeepInversion and its adaptive form: images whose statistics are those of the training data.

Yin et al., "Dreaming to Distill", arXiv 1912.08795, written from the paper's equations. Images are
pushed to a class, kept smooth, and held to the mean and variance that the teacher's batch norms
remember (eq. 2 to 4). With a student at hand they are pushed to where it and the teacher disagree
(eq. 7 to 9, Adaptive DeepInversion): a pool is made as a whole, so the student is one that was
distilled before, and does not change meanwhile.

What differs from the paper: the statistics term is measured by each layer's own scale; the coarse
phase optimises half as many pixels a side, enlarged for the teacher, which may take one size only;
the total variation is the project's, along scan lines; the energy of an image is its mean square,
not its norm; Adam remembers 0.9 and 0.99, not 0.5 and 0.9; pixels stay between black and white.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch.nn import functional

from cake_edge.batch import SyntheticBatch
from cake_edge.errors import UsageMistake
from cake_edge.hooks import StatisticsWatch, statistics_layers, watch_statistics
from cake_edge.losses.competition import agreement
from cake_edge.losses.head import head_of
from cake_edge.losses.image_prior import total_variation
from cake_edge.losses.statistics import statistics_distance
from cake_edge.priors import PRIORS
from cake_edge.samplers.common import (
    Cost,
    at_least_one,
    even_targets,
    finished,
    not_negative,
    pixel_box,
    positive,
    shard_size,
)
from cake_edge.samplers.crops import jittered
from cake_edge.samplers.needs import samplers_without
from cake_edge.samplers.optimise import descend
from cake_edge.samplers.rival import load_rival, rival_identity
from cake_edge.seeding import generator
from cake_edge.storage import Stored, check_stored
from cake_edge.teachers.frozen import FrozenTeacher

__all__ = ["DeepInversionConfig"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DeepInversionConfig:
    """Settings of the sampler `deep-inversion`."""

    name: ClassVar[str] = "deep-inversion"
    prior: str = "gaussian"
    """Where images start; a name in `cake_edge.priors.PRIORS`."""
    steps: int = 200
    """Optimisation steps of an image, coarse and fine together."""
    coarse_share: float = 0.5
    """Share of the steps that move an image of half the side; 0 for none."""
    step_size: float = 0.02
    """How far a pixel may move a step, in pixels of [0, 1]."""
    classification: float = 1.0
    """Weight of the cross-entropy towards the target class."""
    statistics: float = 10.0
    """Weight of the distance to the remembered statistics (alpha_f); 0 leaves DeepDream."""
    variation: float = 0.01
    """Weight of the total variation along scan lines, in pixels of [0, 1] (alpha_tv)."""
    energy: float = 0.01
    """Weight of the mean square of an image in the normalised space (alpha_l2)."""
    jitter: float = 0.0625
    """By how much of a side images are rolled at random before every look."""
    flip: bool = True
    """Mirror images at every second look, at random."""
    rival: str = ""
    """Checkpoint of a student to compete with: the adaptive form."""
    competition: float = 1.0
    """Weight of 1 - JS(teacher, rival) where there is a rival (alpha_c)."""
    images_per_shard: int = 240
    """Images a shard: the unit of resuming and of parallel work."""
    batch: int = 120
    """Images that share statistics, and pass the teacher at once; decides what is made."""
    stored: Stored = "float16"
    """What a value of an image is stored as: uint8, float16 or float32."""

    def __post_init__(self) -> None:
        PRIORS.check(self.prior)
        check_stored(self.stored)
        at_least_one(self, "steps", "images_per_shard", "batch")
        positive(self, "step_size")
        not_negative(
            self, "classification", "statistics", "variation", "energy", "competition", "jitter"
        )
        if not 0 <= self.coarse_share < 1:
            raise UsageMistake(f"coarse_share is {self.coarse_share}; it must lie in [0, 1)")

    def build(self, teacher: FrozenTeacher, *, count: int, seed: int) -> DeepInversionSampler:
        """Returns the sampler.

        Raises:
            UsageMistake: the teacher remembers no statistics, or the rival is no student of it.
        """
        if self.statistics and not statistics_layers(teacher.network):
            raise UsageMistake(
                "deep-inversion matches the statistics of BatchNorm layers, and the teacher has "
                "none (they were never there, or an exporter folded them); use one of the samplers "
                f"that work without: {samplers_without('statistics')}; or --set statistics=0"
            )
        return DeepInversionSampler(self, teacher, count, seed)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for the manifest; a rival by its name and hash, wherever it lies."""
        values = asdict(self)
        if self.rival:
            values["rival"] = Path(self.rival).name
            values["rival_sha256"] = rival_identity(self.rival)
        return values

    def cost(self, count: int, classes: int) -> Cost:
        """Returns what `count` images ask of the teacher."""
        return Cost(image_steps=count * self.steps, looks=count)


class DeepInversionSampler:
    """Makes one batch after another, each from its own starts."""

    def __init__(
        self, config: DeepInversionConfig, teacher: FrozenTeacher, count: int, seed: int
    ) -> None:
        self.config, self.teacher, self.count, self.seed = config, teacher, count, seed
        self._std, self._bounds = pixel_box(teacher.spec, teacher.device)
        self._rival = load_rival(config.rival, teacher) if config.rival else None

    def shard(self, index: int) -> SyntheticBatch:
        """Returns shard `index`."""
        config, spec = self.config, self.teacher.spec
        size = shard_size(config.images_per_shard, self.count, index)
        random = generator(self.seed, "deep-inversion", index, device=self.teacher.device)
        # On the processor, so that no step waits for a number from a GPU.
        jitter = generator(self.seed, "deep-inversion", index, "jitter")
        targets = even_targets(size, spec.classes, random)
        starts = PRIORS[config.prior](size, spec, random)
        made = [
            self._invert(images, wanted, jitter)
            for images, wanted in zip(
                starts.split(config.batch), targets.split(config.batch), strict=True
            )
        ]
        return finished(
            self.teacher, torch.cat(made), targets,
            steps=config.steps, batch=config.batch, stored=config.stored,
        )  # fmt: skip

    def _invert(
        self, images: torch.Tensor, targets: torch.Tensor, jitter: torch.Generator
    ) -> torch.Tensor:
        """Pushes one batch [N, C, H, W] to targets [N]: coarse first, then every pixel."""
        config = self.config
        coarse = int(config.steps * config.coarse_share)
        reach = config.step_size / self._std
        watching = watch_statistics(self.teacher.network) if config.statistics else nullcontext()
        with watching as watch:
            loss = self.loss(targets, watch, jitter)
            if coarse:
                height, width = (-(-side // 2) for side in images.shape[2:])
                small = functional.interpolate(images, (height, width), mode="area")
                (small,) = descend(small, loss, reach, self._bounds, (coarse,))
                images = self._enlarged(small)
            (images,) = descend(images, loss, reach, self._bounds, (config.steps - coarse,))
        return images

    def loss(
        self, targets: torch.Tensor, watch: StatisticsWatch | None, jitter: torch.Generator
    ) -> Callable[[torch.Tensor], torch.Tensor]:
        """Returns images -> [N]; its mean is the paper's loss of the batch."""
        config, head = self.config, head_of(self.teacher.spec)

        def loss(images: torch.Tensor) -> torch.Tensor:
            shown = jittered(self._enlarged(images), config.jitter, jitter, flip=config.flip)
            logits = self.teacher(shown)
            value = (
                config.classification * head.towards(logits, targets)
                + config.variation * total_variation(images * self._std)
                + config.energy * images.square().mean((1, 2, 3))
            )
            if watch is not None:
                value = value + config.statistics * statistics_distance(watch.take())
            if self._rival is not None:
                exclusive = self.teacher.spec.head == "softmax"
                agreed = agreement(logits, self._rival(shown), exclusive=exclusive)
                value = value + config.competition * agreed
            return value

        return loss

    def _enlarged(self, images: torch.Tensor) -> torch.Tensor:
        size = (self.teacher.spec.height, self.teacher.spec.width)
        if tuple(images.shape[2:]) == size:
            return images
        return functional.interpolate(images, size, mode="bilinear", align_corners=False)
