"""Contrastive model inversion: images that a teacher can tell from those made before.

Fang et al., "Contrastive Model Inversion for Data-Free Knowledge Distillation", arXiv 2105.08584,
written from the paper's equations. A small generator and the noise it starts from are optimised for
each batch, then forgotten: the teacher shall see the targets, its batch norms what they remember
(where they remember anything), and two views of an image, the whole and a crop, shall be alike to
it while all other images, of the batch and of a memory bank, are unlike.

What differs from the paper: the bank is a shard's own, and begins empty with it, so that a shard
depends on no other; images are told apart by what enters the teacher's last layer, through a
projection that is trained along, and by the logits where a network is read from a graph and has no
layers; the generator is told the target, and its batch norms are conditioned on it; the term that
looks for disagreement with the student is left out, since there is none while a pool is made; the
statistics term is measured by each layer's own scale.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import torch
from torch import nn

from cake_edge.batch import SyntheticBatch
from cake_edge.errors import NumericsError, UsageMistake
from cake_edge.hooks import last_layer, statistics_layers, watch_input, watch_statistics
from cake_edge.losses.head import head_of
from cake_edge.losses.instances import instance_discrimination
from cake_edge.losses.statistics import statistics_distance
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
from cake_edge.samplers.crops import random_crops
from cake_edge.seeding import generator
from cake_edge.storage import Stored, check_stored
from cake_edge.teachers.frozen import FrozenTeacher

__all__ = ["CmiConfig"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class CmiConfig:
    """Settings of the sampler `cmi`."""

    name: ClassVar[str] = "cmi"
    steps: int = 100
    """Steps for which generator and noise of a batch are optimised."""
    learning_rate: float = 3e-3
    """Of Adam, for the generator and the projection."""
    latent_rate: float = 0.015
    """Of Adam, for the noise."""
    classification: float = 0.5
    """Weight of the cross-entropy towards the target class (beta)."""
    statistics: float = 5.0
    """Weight of the distance to the remembered statistics, where there are any (alpha)."""
    contrast: float = 0.8
    """Weight of the contrastive term."""
    temperature: float = 0.2
    """Of the contrastive term."""
    crop: tuple[float, float] = (0.25, 1.0)
    """Least and greatest share of an image that its local view shows."""
    projection: int = 128
    """Length of an embedding."""
    latent: int = 100
    """Length of the noise."""
    width: int = 32
    """Channels of the generator."""
    images_per_shard: int = 480
    """Images a shard: the unit of resuming, and as many as the bank can know."""
    batch: int = 120
    """Images that are optimised together and share statistics; decides what is made."""
    stored: Stored = "float16"
    """What a value of an image is stored as: uint8, float16 or float32."""

    def __post_init__(self) -> None:
        check_stored(self.stored)
        at_least_one(self, "steps", "projection", "latent", "width", "images_per_shard", "batch")
        positive(self, "learning_rate", "latent_rate", "temperature")
        not_negative(self, "classification", "statistics", "contrast")
        if not 0 < self.crop[0] <= self.crop[1] <= 1:
            raise UsageMistake(f"crop is {list(self.crop)}; it must be 0 < least <= greatest <= 1")

    def build(self, teacher: FrozenTeacher, *, count: int, seed: int) -> CmiSampler:
        """Returns the sampler."""
        return CmiSampler(self, teacher, count, seed)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for the manifest."""
        return asdict(self)

    def cost(self, count: int, classes: int) -> Cost:
        """Returns what `count` images ask of the teacher: at every step both views."""
        return Cost(image_steps=2 * count * self.steps, looks=2 * count)


class CmiSampler:
    """Makes the batches of a shard one after another, each against all before it."""

    def __init__(self, config: CmiConfig, teacher: FrozenTeacher, count: int, seed: int) -> None:
        self.config, self.teacher, self.count, self.seed = config, teacher, count, seed
        if config.statistics and not statistics_layers(teacher.network):
            logger.info("the teacher remembers no statistics: cmi does without that term")

    def shard(self, index: int) -> SyntheticBatch:
        """Returns shard `index`."""
        config, spec, device = self.config, self.teacher.spec, self.teacher.device
        size = shard_size(config.images_per_shard, self.count, index)
        random = generator(self.seed, "cmi", index, device=device)
        weights = generator(self.seed, "cmi", index, "weights")
        targets = even_targets(size, spec.classes, random)
        made: list[torch.Tensor] = []
        with watched_features(self.teacher) as features:
            bank = torch.empty((0, features.length), device=device)
            for part in targets.split(config.batch):
                inversion = Inversion(self, features, part, bank, weights, random)
                made.append(inversion.run())
                with torch.no_grad():
                    bank = torch.cat([bank, features.of(made[-1])[1]])
        return finished(
            self.teacher, torch.cat(made), targets,
            steps=config.steps, batch=config.batch, stored=config.stored,
        )  # fmt: skip


class Features:
    """What tells images apart to a teacher: logits, and what its last layer is given."""

    def __init__(self, teacher: FrozenTeacher, seen: list[torch.Tensor] | None) -> None:
        self.teacher, self._seen = teacher, seen
        with torch.no_grad():
            probe = torch.zeros((2, *teacher.spec.input_size), device=teacher.device)
            self.length = self.of(probe)[1].shape[1]

    def of(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Returns the logits [N, K] and the features [N, D] of images."""
        if self._seen is None:
            logits = self.teacher(images)
            return logits, logits
        self._seen.clear()
        logits = self.teacher(images)
        given = torch.cat(self._seen)[: len(images)]
        self._seen.clear()
        return logits, _rows(given)


def _rows(given: torch.Tensor) -> torch.Tensor:
    """[N, D] of what a head is given: maps [N, D, H, W], places [N, L, D], or that already."""
    if given.ndim == 4:
        return given.mean((2, 3))
    return given.mean(1) if given.ndim == 3 else given


@contextmanager
def watched_features(teacher: FrozenTeacher) -> Iterator[Features]:
    """Gives the features of a teacher; the hooks are gone after the block."""
    probe = torch.zeros((2, *teacher.spec.input_size), device=teacher.device)
    layer = last_layer(teacher, probe)
    if layer is None:
        yield Features(teacher, None)
        return
    with watch_input(layer) as seen:
        yield Features(teacher, seen)


class Inversion:
    """One batch: a generator, its noise and a projection, that are optimised and forgotten."""

    def __init__(
        self,
        sampler: CmiSampler,
        features: Features,
        targets: torch.Tensor,
        bank: torch.Tensor,
        weights: torch.Generator,
        random: torch.Generator,
    ) -> None:
        config, device = sampler.config, random.device
        self.config, self.teacher = config, sampler.teacher
        self.features, self.targets, self.bank, self.random = features, targets, bank, random
        self.generator = seeded_generator(
            self.teacher.spec, weights, latent=config.latent, width=config.width
        ).to(device)
        self.projection = _projection(features.length, config.projection, weights).to(device)
        noise = torch.randn((len(targets), config.latent), generator=random, device=device)
        self.noise = noise.requires_grad_()

    def run(self) -> torch.Tensor:
        """Optimises, and returns the images [N, C, H, W] of the last step.

        Raises:
            NumericsError: the loss is not finite.
        """
        config = self.config
        networks = [*self.generator.parameters(), *self.projection.parameters()]
        optimiser = torch.optim.Adam(
            [
                {"params": networks, "lr": config.learning_rate},
                {"params": [self.noise], "lr": config.latent_rate},
            ]
        )
        for _ in range(config.steps):
            value = self.loss(self.generator(self.noise, self.targets))
            optimiser.zero_grad()
            value.backward()
            optimiser.step()
        if not torch.isfinite(value):
            raise NumericsError(
                f"the loss of cmi is {float(value.detach())} after {config.steps} steps; use a "
                "smaller learning_rate"
            )
        with torch.no_grad():
            images: torch.Tensor = self.generator(self.noise, self.targets)
        return images

    def loss(self, images: torch.Tensor) -> torch.Tensor:
        """Returns the loss of a batch [N, C, H, W], a scalar; draws its local views."""
        config = self.config
        with watch_statistics(self.teacher.network) as watch:
            logits, whole = self.features.of(images)
            seen = watch.take()
        value = (
            config.classification * head_of(self.teacher.spec).towards(logits, self.targets).mean()
        )
        if config.statistics and seen:
            value = value + config.statistics * statistics_distance(seen)
        _, local = self.features.of(random_crops(images, config.crop, self.random))
        told = instance_discrimination(
            self.projection(whole), self.projection(local), self.projection(self.bank),
            config.temperature,
        )  # fmt: skip
        return value + config.contrast * told.mean()


def _projection(length: int, size: int, random: torch.Generator) -> nn.Sequential:
    """Two linear layers with weights from `random`; the state of the process stays."""
    with torch.random.fork_rng(devices=[]):
        layers = nn.Linear(length, size), nn.Linear(size, size)
    for layer in layers:
        bound = layer.in_features**-0.5
        nn.init.uniform_(layer.weight, -bound, bound, generator=random)
        nn.init.zeros_(layer.bias)
    return nn.Sequential(layers[0], nn.ReLU(), layers[1])
