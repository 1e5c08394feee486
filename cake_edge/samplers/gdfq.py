"""A class-conditional generator, trained against the teacher alone.

Xu et al., "Generative Low-bitwidth Data Free Quantization", arXiv 2003.03603, section 3.1, written
from the paper's equations: noise and a label become an image that the teacher sees as that label
(eq. 2), and whose batch statistics are those its batch norms remember (eq. 3). Where the teacher
remembers none, the first term trains alone.

What differs from the paper: there the generator learns on beside the network that is quantized;
here it is trained before, once for a pool and the same for every shard, and each shard is drawn
from noise of its own. The statistics term is measured by each layer's own scale. Training depends
on the seed and the settings alone, so each process that makes shards, and a run that goes on after
an interruption, trains it again to the same weights: the cost is paid once a process.
"""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import torch

from cake_edge.batch import SyntheticBatch
from cake_edge.errors import NumericsError
from cake_edge.hooks import StatisticsWatch, statistics_layers, watch_statistics
from cake_edge.losses.head import head_of
from cake_edge.losses.statistics import statistics_distance
from cake_edge.qat.generator import ImageGenerator
from cake_edge.samplers.common import (
    Cost,
    at_least_one,
    even_targets,
    finished,
    not_negative,
    positive,
    seeded_generator,
    shard_size,
)
from cake_edge.seeding import generator
from cake_edge.storage import Stored, check_stored
from cake_edge.teachers.frozen import FrozenTeacher

__all__ = ["GdfqConfig"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class GdfqConfig:
    """Settings of the sampler `gdfq`."""

    name: ClassVar[str] = "gdfq"
    train_steps: int = 500
    """Steps for which the generator is trained, before the first image."""
    train_batch: int = 120
    """Images a step; they share statistics."""
    learning_rate: float = 1e-3
    """Of Adam."""
    classification: float = 1.0
    """Weight of the cross-entropy towards the label."""
    statistics: float = 1.0
    """Weight of the distance to the remembered statistics, where there are any."""
    latent: int = 100
    """Length of the noise."""
    width: int = 32
    """Channels of the generator."""
    images_per_shard: int = 480
    """Images a shard: the unit of resuming and of parallel work."""
    batch: int = 240
    """Images that pass the teacher at once when they are judged."""
    stored: Stored = "float16"
    """What a value of an image is stored as: uint8, float16 or float32."""

    def __post_init__(self) -> None:
        check_stored(self.stored)
        at_least_one(
            self, "train_steps", "train_batch", "latent", "width", "images_per_shard", "batch"
        )
        positive(self, "learning_rate")
        not_negative(self, "classification", "statistics")

    def build(self, teacher: FrozenTeacher, *, count: int, seed: int) -> GdfqSampler:
        """Returns the sampler; its generator is trained when the first shard is asked for."""
        return GdfqSampler(self, teacher, count, seed)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for the manifest."""
        return asdict(self)

    def cost(self, count: int, classes: int) -> Cost:
        """Returns what `count` images ask of the teacher, made by one process."""
        return Cost(image_steps=self.train_steps * self.train_batch, looks=count)


class GdfqSampler:
    """Draws shards from a generator that it trains at first use."""

    def __init__(self, config: GdfqConfig, teacher: FrozenTeacher, count: int, seed: int) -> None:
        self.config, self.teacher, self.count, self.seed = config, teacher, count, seed
        self._generator: ImageGenerator | None = None
        if config.statistics and not statistics_layers(teacher.network):
            logger.info("the teacher remembers no statistics: gdfq trains by its answers alone")

    def shard(self, index: int) -> SyntheticBatch:
        """Returns shard `index`."""
        config = self.config
        if self._generator is None:
            self._generator = self._trained()
        size = shard_size(config.images_per_shard, self.count, index)
        random = generator(self.seed, "gdfq", index, device=self.teacher.device)
        targets = even_targets(size, self.teacher.spec.classes, random)
        with torch.no_grad():
            made = [
                self._generator(self._noise(len(part), random), part)
                for part in targets.split(config.batch)
            ]
        return finished(
            self.teacher, torch.cat(made), targets,
            steps=config.train_steps, batch=config.batch, stored=config.stored,
        )  # fmt: skip

    def _trained(self) -> ImageGenerator:
        """Trains a generator from its own seed.

        Raises:
            NumericsError: the loss is not finite.
        """
        config, device = self.config, self.teacher.device
        network = seeded_generator(
            self.teacher.spec, generator(self.seed, "gdfq", "weights"),
            latent=config.latent, width=config.width,
        ).to(device)  # fmt: skip
        random = generator(self.seed, "gdfq", "training", device=device)
        optimiser = torch.optim.Adam(network.parameters(), lr=config.learning_rate)
        with watch_statistics(self.teacher.network) as watch:
            for _ in range(config.train_steps):
                value = self.loss(network, random, watch)
                optimiser.zero_grad()
                value.backward()
                optimiser.step()
        if not torch.isfinite(value):
            raise NumericsError(
                f"the loss of the generator is {float(value.detach())} after {config.train_steps} "
                "steps; use a smaller learning_rate"
            )
        return network.eval().requires_grad_(False)

    def loss(
        self, network: ImageGenerator, random: torch.Generator, watch: StatisticsWatch
    ) -> torch.Tensor:
        """Returns the loss of one drawn batch, a scalar."""
        config, spec = self.config, self.teacher.spec
        targets = even_targets(config.train_batch, spec.classes, random)
        logits = self.teacher(network(self._noise(len(targets), random), targets))
        value = config.classification * head_of(spec).towards(logits, targets).mean()
        seen = watch.take()
        if config.statistics and seen:
            value = value + config.statistics * statistics_distance(seen)
        return value

    def _noise(self, count: int, random: torch.Generator) -> torch.Tensor:
        return torch.randn((count, self.config.latent), generator=random, device=random.device)
