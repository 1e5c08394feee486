"""CAKE started from structured images: the project's default sampler.

Contrastive abductive knowledge extraction (Braun, Mundt, Kersting, arXiv 2306.02090) with changes:
the diffusion starts from structured images in place of white noise, and among them from those that
the teacher is surest of; an image is pushed to a class that the teacher already holds likely; where
it started is kept too, and of the rest of the prior what makes the classes even that the teacher
sees; several snapshots are kept along each trajectory, so that the pool spans noise levels; step
size and contrast vary from tuple to tuple; and the contrastive term is off unless it is given a
weight: on its way to a near class an image is at a boundary as it is. Weights are per image and do
not depend on the batch, but for the statistics term, which is of one.
"""

from __future__ import annotations

import logging
import math
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Literal

import torch

from cake_edge.batch import SyntheticBatch
from cake_edge.errors import UsageMistake
from cake_edge.hooks import statistics_layers, watch_statistics
from cake_edge.losses.contrast import pair_contrast
from cake_edge.losses.head import head_of
from cake_edge.losses.image_prior import total_variation
from cake_edge.losses.statistics import statistics_distance
from cake_edge.priors import PRIORS
from cake_edge.samplers.base import judge
from cake_edge.samplers.common import (
    at_least_one,
    beyond_pixels,
    not_negative,
    pixel_box,
    shard_size,
)
from cake_edge.samplers.crops import jittered
from cake_edge.samplers.optimise import (
    balanced_selection,
    descend,
    draw_tuples,
    near_classes,
    surest_selection,
)
from cake_edge.seeding import generator
from cake_edge.settings import check_choices
from cake_edge.storage import Stored, as_stored, check_stored
from cake_edge.teachers.frozen import FrozenTeacher

__all__ = ["CakeConfig"]

logger = logging.getLogger(__name__)

NEAR_TEMPERATURE = 2.0
"""Of the teacher's answer when a class near an image is drawn."""


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
    starts: Literal["surest", "any"] = "surest"
    """Which prior images are diffused: those with the largest logits in their class, or any."""
    towards: Literal["near", "any"] = "near"
    """Where to: a class that the teacher holds likely besides its first, or any class, the images
    of a tuple to distinct ones."""
    tuple_size: int = 10
    """Images that share a step size and are contrasted; at most the number of classes."""
    jitter: float = 0.0625
    """By how much of a side images are rolled at random at every step, and mirrored at half of the
    steps; 0 for neither."""
    steps: int = 20
    """Optimisation steps of a trajectory."""
    snapshots: int = 3
    """Images kept along a trajectory, at steps that halve backwards from the last."""
    step_size: tuple[float, float] = (0.004, 0.04)
    """Range of the step, drawn log-uniformly a tuple; in pixels of [0, 1]."""
    classification: float = 1.0
    """Weight of the cross-entropy towards the target class, or of the target label's alone where
    the teacher's labels do not exclude each other."""
    contrast: tuple[float, float] = (0.0, 0.0)
    """Range of the weight of the pair contrast, drawn log-uniformly a tuple; [0, 0] for none. An
    image pushed to a near class is held at the boundary without it."""
    variation: float = 0.1
    """Weight of the total variation along scan lines, in pixels of [0, 1]."""
    statistics: float = 0.0
    """Weight of the distance to the statistics that batch norms remember, where there are any."""
    images_per_shard: int = 480
    """Images a shard: the unit of resuming and of parallel work."""
    batch: int = 240
    """Images that pass the teacher at once, and share the statistics term where there is one. A
    shard holds `oversample` times its images besides."""
    stored: Stored = "float16"
    """What a value of an image is stored as: uint8, float16 or float32."""

    def __post_init__(self) -> None:
        PRIORS.check(self.prior)
        check_stored(self.stored, beyond_pixels(self.prior))
        if not 0 <= self.pushed_share <= 1:
            raise UsageMistake(f"pushed_share is {self.pushed_share}; it must lie in [0, 1]")
        check_choices(self)
        at_least_one(self, "oversample", "steps", "snapshots", "images_per_shard", "batch")
        not_negative(self, "classification", "variation", "statistics", "jitter")
        if self.tuple_size < 2:
            raise UsageMistake(f"tuple_size is {self.tuple_size}; a pair needs at least 2")
        for field in ("step_size", "contrast"):
            low, high = getattr(self, field)
            none = field == "contrast" and low == high == 0
            if not (none or 0 < low <= high):
                allowed = "0 < low <= high" + (", or [0, 0]" if field == "contrast" else "")
                raise UsageMistake(f"{field} is [{low}, {high}]; it must be {allowed}")

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
        self._std, self._bounds = pixel_box(teacher.spec, teacher.device)
        self._statistics = config.statistics if statistics_layers(teacher.network) else 0.0
        if config.statistics and not self._statistics:
            logger.info("the teacher remembers no statistics: cake does without that term")

    def shard(self, index: int) -> SyntheticBatch:
        """Returns shard `index`: prior images first, then the snapshots."""
        config = self.config
        size = shard_size(config.images_per_shard, self.count, index)
        snapshots = config.snapshot_steps()
        starts = math.ceil(size * config.pushed_share / len(snapshots))
        pushed = min(size, starts * len(snapshots))
        random = generator(self.seed, "cake", index, device=self.teacher.device)
        starts_kept = min(starts, size - pushed)
        drawn, logits = self._drawn(max(starts, size - pushed), random)
        begin = self._starts(logits, starts, random)
        rest = torch.ones(len(drawn), dtype=torch.bool, device=random.device)
        rest[begin] = False
        others = rest.nonzero().squeeze(1)
        apart = balanced_selection(logits[others].argmax(1), size - pushed - starts_kept)
        kept = torch.cat([begin[:starts_kept], others[apart]])
        nobody = torch.full((len(kept),), -1, device=random.device)
        parts = [
            SyntheticBatch(
                images=drawn[kept],
                logits=logits[kept],
                targets=nobody,
                steps=torch.zeros_like(nobody),
            )
        ]
        if starts:
            every = self._pushed(drawn[begin], logits[begin], random)
            parts.append(every.select(torch.arange(pushed, device=random.device)))
        return self._stored(SyntheticBatch.concatenate(parts))

    def _drawn(self, keep: int, random: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        """Prior images to choose `keep` from, and the teacher's logits."""
        prior = PRIORS[self.config.prior]
        drawn = prior(keep * self.config.oversample, self.teacher.spec, random)
        return drawn, judge(self.teacher, drawn, self.config.batch)

    def _starts(self, logits: torch.Tensor, count: int, random: torch.Generator) -> torch.Tensor:
        """Which of the drawn images are diffused, in random order."""
        if self.config.starts == "surest":
            exclusive = self.teacher.spec.head == "softmax"
            chosen = surest_selection(logits, count, random, exclusive=exclusive)
        else:
            order = torch.randperm(len(logits), generator=random, device=random.device)
            chosen = order[balanced_selection(logits[order].argmax(1), count)]
        return chosen[torch.randperm(count, generator=random, device=random.device)]

    def _pushed(
        self, images: torch.Tensor, logits: torch.Tensor, random: torch.Generator
    ) -> SyntheticBatch:
        """Diffuses whole tuples; the last one is filled up by starting images used again."""
        config, classes = self.config, self.teacher.spec.classes
        size = min(config.tuple_size, classes)
        tuples = math.ceil(len(images) / size)
        again = torch.arange(tuples * size, device=random.device) % len(images)
        if config.towards == "near" and classes > 1:
            exclusive = self.teacher.spec.head == "softmax"
            targets = near_classes(logits[again], NEAR_TEMPERATURE, random, exclusive=exclusive)
            targets = targets.view(tuples, size)
        else:
            targets = draw_tuples(tuples, size, classes, random)
        step_size = self._log_uniform(config.step_size, tuples, random)
        contrast = self._log_uniform(config.contrast, tuples, random)
        jitter = int(torch.randint(1 << 31, (), generator=random, device=random.device))
        grouped = images[again].view(tuples, size, *images.shape[1:])
        at_once = max(1, config.batch // size)
        runs = [
            self.diffuse(
                grouped[part], targets[part], step_size[part], contrast[part], seed=jitter,
            )
            for part in torch.arange(tuples, device=random.device).split(at_once)
        ]  # fmt: skip
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
        *,
        seed: int,
    ) -> list[torch.Tensor]:
        """Diffuses [T, G, C, H, W] towards targets [T, G]; a [T * G, C, H, W] a snapshot.

        Args:
            images: the starts.
            targets: classes.
            step_size: [T], in pixels of [0, 1].
            contrast: [T], weights.
            seed: of the jitter, which is the same for all images of a step.
        """
        config, size = self.config, targets.shape[1]
        towards = head_of(self.teacher.spec).towards
        # On the processor, so that no step waits for a number from a GPU.
        random = generator(seed, "jitter")

        def loss(current: torch.Tensor) -> torch.Tensor:
            shown = jittered(current, config.jitter, random) if config.jitter else current
            logits = self.teacher(shown)
            value = config.classification * towards(
                logits, targets.flatten()
            ) + config.variation * total_variation(current * self._std)
            if config.contrast[1]:
                pull = pair_contrast(logits.view(*targets.shape, -1), targets)
                value = value + (pull * contrast[:, None]).flatten()
            if watch is not None:
                value = value + self._statistics * statistics_distance(watch.take())
            return value

        reach = step_size.repeat_interleave(size).view(-1, 1, 1, 1) / self._std
        watching = watch_statistics(self.teacher.network) if self._statistics else nullcontext()
        with watching as watch:
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
        if limits[1] == 0:
            return torch.zeros(count, device=random.device)
        low, high = (math.log(limit) for limit in limits)
        share = torch.rand(count, generator=random, device=random.device)
        return (low + share * (high - low)).exp()
