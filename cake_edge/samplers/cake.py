"""CAKE started from structured images: the project's default sampler.

Contrastive abductive knowledge extraction (Braun, Mundt, Kersting, arXiv 2306.02090) with four
changes: the diffusion starts from structured images in place of white noise; what is kept of the
prior is balanced by the classes the teacher sees; several snapshots are kept along each
trajectory, so that the pool spans noise levels; and step size and contrast vary from tuple to
tuple. Weights are per image and do not depend on the batch.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import torch

from cake_edge.batch import SyntheticBatch
from cake_edge.errors import UsageMistake
from cake_edge.losses.contrast import pair_contrast
from cake_edge.losses.head import head_of
from cake_edge.losses.image_prior import total_variation
from cake_edge.priors import PRIORS
from cake_edge.samplers.base import judge
from cake_edge.samplers.common import beyond_pixels
from cake_edge.samplers.optimise import balanced_selection, descend, draw_tuples
from cake_edge.seeding import generator
from cake_edge.storage import Stored, as_stored, check_stored
from cake_edge.teachers.frozen import FrozenTeacher

__all__ = ["CakeConfig"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CakeConfig:
    """Settings of the sampler `cake`."""

    name: ClassVar[str] = "cake"
    prior: str = "structured"
    """Where images start; a name in `cake_edge.priors.PRIORS`."""
    pushed_share: float = 1 / 3
    """Share of the pool that is diffused; the rest is the balanced prior itself."""
    oversample: int = 6
    """Prior images drawn for every one that is kept."""
    tuple_size: int = 10
    """Images of distinct classes that are contrasted; at most the number of classes."""
    steps: int = 40
    """Optimisation steps of a trajectory."""
    snapshots: int = 3
    """Images kept along a trajectory, at steps that halve backwards from the last."""
    step_size: tuple[float, float] = (0.004, 0.04)
    """Range of the step, drawn log-uniformly a tuple; in pixels of [0, 1]."""
    classification: float = 1.0
    """Weight of the cross-entropy towards the target class, or of the target label's alone where
    the teacher's labels do not exclude each other."""
    contrast: tuple[float, float] = (0.001, 0.05)
    """Range of the weight of the pair contrast, drawn log-uniformly a tuple."""
    variation: float = 0.1
    """Weight of the total variation along scan lines, in pixels of [0, 1]."""
    images_per_shard: int = 480
    """Images a shard: the unit of resuming and of parallel work."""
    batch: int = 240
    """Images that pass the teacher at once. A shard holds `oversample` times its images besides."""
    stored: Stored = "float16"
    """What a value of an image is stored as: uint8, float16 or float32."""

    def __post_init__(self) -> None:
        PRIORS.check(self.prior)
        check_stored(self.stored, beyond_pixels(self.prior))
        if not 0 <= self.pushed_share <= 1:
            raise UsageMistake(f"pushed_share is {self.pushed_share}; it must lie in [0, 1]")
        for field in ("oversample", "steps", "snapshots", "images_per_shard", "batch"):
            if getattr(self, field) < 1:
                raise UsageMistake(f"{field} is {getattr(self, field)}; it must be at least 1")
        for field in ("classification", "variation"):
            if getattr(self, field) < 0:
                raise UsageMistake(f"{field} is {getattr(self, field)}; it must be 0 or more")
        if self.tuple_size < 2:
            raise UsageMistake(f"tuple_size is {self.tuple_size}; a pair needs at least 2")
        for field in ("step_size", "contrast"):
            low, high = getattr(self, field)
            if not 0 < low <= high:
                raise UsageMistake(f"{field} is [{low}, {high}]; it must be 0 < low <= high")

    def build(self, teacher: FrozenTeacher, *, count: int, seed: int) -> CakeSampler:
        """Returns the sampler for a pool of `count` images."""
        return CakeSampler(self, teacher, count, seed)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for the manifest."""
        return asdict(self)

    def snapshot_steps(self) -> tuple[int, ...]:
        """Returns the steps at which images are kept: the last, half of it, a quarter …."""
        steps = {max(1, self.steps >> halvings) for halvings in range(self.snapshots)}
        return tuple(sorted(steps))


class CakeSampler:
    """Makes shards of balanced prior images and of images diffused from them."""

    def __init__(self, config: CakeConfig, teacher: FrozenTeacher, count: int, seed: int) -> None:
        self.config, self.teacher, self.count, self.seed = config, teacher, count, seed
        spec, device = teacher.spec, teacher.device
        mean = torch.tensor(spec.mean, device=device).view(1, -1, 1, 1)
        self._std = torch.tensor(spec.std, device=device).view(1, -1, 1, 1)
        self._bounds = (-mean / self._std, (1 - mean) / self._std)

    def shard(self, index: int) -> SyntheticBatch:
        """Returns shard `index`: prior images first, then the snapshots."""
        config = self.config
        size = min(config.images_per_shard, self.count - index * config.images_per_shard)
        snapshots = config.snapshot_steps()
        starts = math.ceil(size * config.pushed_share / len(snapshots))
        pushed = min(size, starts * len(snapshots))
        random = generator(self.seed, "cake", index, device=self.teacher.device)
        prior = self._balanced_prior(size - pushed + starts, random)
        begin = torch.randperm(len(prior), generator=random, device=random.device)
        parts = [prior.select(begin[starts:].sort().values)]
        if starts:
            parts.append(
                self._pushed(prior.images[begin[:starts]], random).select(
                    torch.arange(pushed, device=random.device)
                )
            )
        return self._stored(SyntheticBatch.concatenate(parts))

    def _balanced_prior(self, keep: int, random: torch.Generator) -> SyntheticBatch:
        prior = PRIORS[self.config.prior]
        drawn = prior(keep * self.config.oversample, self.teacher.spec, random)
        logits = judge(self.teacher, drawn, self.config.batch)
        chosen = balanced_selection(logits.argmax(1), keep)
        nobody = torch.full((keep,), -1, device=random.device)
        return SyntheticBatch(
            images=drawn[chosen],
            logits=logits[chosen],
            targets=nobody,
            steps=torch.zeros_like(nobody),
        )

    def _pushed(self, images: torch.Tensor, random: torch.Generator) -> SyntheticBatch:
        """Diffuses whole tuples; the last one is filled up by starting images used again."""
        config, classes = self.config, self.teacher.spec.classes
        size = min(config.tuple_size, classes)
        tuples = math.ceil(len(images) / size)
        targets = draw_tuples(tuples, size, classes, random)
        step_size = self._log_uniform(config.step_size, tuples, random)
        contrast = self._log_uniform(config.contrast, tuples, random)
        again = torch.arange(tuples * size, device=random.device) % len(images)
        grouped = images[again].view(tuples, size, *images.shape[1:])
        at_once = max(1, config.batch // size)
        runs = [
            self.diffuse(grouped[part], targets[part], step_size[part], contrast[part])
            for part in torch.arange(tuples, device=random.device).split(at_once)
        ]
        steps = config.snapshot_steps()
        levels = [torch.cat([run[k] for run in runs])[: len(images)] for k in range(len(steps))]
        wanted = targets.view(-1)[: len(images)]
        # Interleaved, so that cutting the batch short takes from every noise level alike.
        mixed = torch.stack(levels, 1).flatten(0, 1)
        return SyntheticBatch(
            images=mixed,
            logits=judge(self.teacher, mixed, config.batch),
            targets=wanted.repeat_interleave(len(steps)),
            steps=torch.tensor(steps, device=random.device).repeat(len(images)),
        )

    def diffuse(
        self,
        images: torch.Tensor,
        targets: torch.Tensor,
        step_size: torch.Tensor,
        contrast: torch.Tensor,
    ) -> list[torch.Tensor]:
        """Diffuses [T, G, C, H, W] towards targets [T, G]; a [T * G, C, H, W] a snapshot."""
        config, size = self.config, targets.shape[1]
        towards = head_of(self.teacher.spec).towards

        def loss(current: torch.Tensor) -> torch.Tensor:
            logits = self.teacher(current)
            pull = pair_contrast(logits.view(*targets.shape, -1), targets) * contrast[:, None]
            return (
                config.classification * towards(logits, targets.flatten())
                + pull.flatten()
                + config.variation * total_variation(current * self._std)
            )

        reach = step_size.repeat_interleave(size).view(-1, 1, 1, 1) / self._std
        return descend(images.flatten(0, 1), loss, reach, self._bounds, config.snapshot_steps())

    def _stored(self, batch: SyntheticBatch) -> SyntheticBatch:
        """Rounds to what is written, and asks the teacher about exactly that."""
        if self.config.stored == "float32":
            return batch
        images = as_stored(batch.images, self.teacher.spec, self.config.stored)
        logits = judge(self.teacher, images, self.config.batch)
        return SyntheticBatch(
            images=images, logits=logits, targets=batch.targets, steps=batch.steps
        )

    def _log_uniform(
        self, limits: tuple[float, float], count: int, random: torch.Generator
    ) -> torch.Tensor:
        low, high = (math.log(limit) for limit in limits)
        share = torch.rand(count, generator=random, device=random.device)
        return (low + share * (high - low)).exp()
