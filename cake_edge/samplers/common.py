"""What all samplers that push images share: even targets, the box of pixels, finished shards."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from cake_edge.batch import SyntheticBatch
from cake_edge.errors import UsageMistake
from cake_edge.qat.generator import ImageGenerator
from cake_edge.samplers.base import judge
from cake_edge.samplers.optimise import draw_tuples
from cake_edge.spec import ImageSpec
from cake_edge.storage import Stored, as_stored
from cake_edge.teachers.frozen import FrozenTeacher

__all__ = [
    "LOOK",
    "Cost",
    "at_least_one",
    "beyond_pixels",
    "even_targets",
    "finished",
    "not_negative",
    "pixel_box",
    "positive",
    "seeded_generator",
    "shard_size",
]


LOOK = 0.4
"""Of an image-step."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """How often a teacher is asked for a pool, in single images.

    What else a sampler computes (a generator, a rival, the prior) is not in it.
    """

    image_steps: int
    """Passes forward and back to the image."""
    looks: int
    """Passes forward alone; of convolutional networks about a third to two fifths of the above."""

    @property
    def total(self) -> float:
        """Both, in image-steps: a look counts as two fifths of one."""
        return self.image_steps + LOOK * self.looks


def at_least_one(settings: Any, *fields: str) -> None:
    """Refuses settings that count something and are below 1.

    Raises:
        UsageMistake: one of them is.
    """
    for field in fields:
        if getattr(settings, field) < 1:
            raise UsageMistake(f"{field} is {getattr(settings, field)}; it must be at least 1")


def not_negative(settings: Any, *fields: str) -> None:
    """Refuses weights below 0.

    Raises:
        UsageMistake: one of them is.
    """
    for field in fields:
        if getattr(settings, field) < 0:
            raise UsageMistake(f"{field} is {getattr(settings, field)}; it must be 0 or more")


def positive(settings: Any, *fields: str) -> None:
    """Refuses sizes that are not above 0.

    Raises:
        UsageMistake: one of them is not.
    """
    for field in fields:
        if getattr(settings, field) <= 0:
            raise UsageMistake(f"{field} is {getattr(settings, field)}; it must be above 0")


def beyond_pixels(prior: str) -> str:
    """Returns what takes images straight from a prior out of [0, 1]; empty where nothing does."""
    return "the prior gaussian is noise that goes beyond them" if prior == "gaussian" else ""


def shard_size(images_per_shard: int, count: int, index: int) -> int:
    """Returns how many of `count` images are in shard `index`: the last one may be short."""
    return min(images_per_shard, count - index * images_per_shard)


def even_targets(count: int, classes: int, random: torch.Generator) -> torch.Tensor:
    """Returns targets [count]: every class once in random order, then every class again."""
    return draw_tuples(-(-count // classes), classes, classes, random).flatten()[:count]


def pixel_box(
    spec: ImageSpec, device: torch.device
) -> tuple[torch.Tensor, tuple[torch.Tensor, torch.Tensor]]:
    """Returns the std, and what black and white become, each [1, C, 1, 1]."""
    mean = torch.tensor(spec.mean, device=device).view(1, -1, 1, 1)
    std = torch.tensor(spec.std, device=device).view(1, -1, 1, 1)
    return std, (-mean / std, (1 - mean) / std)


def finished(
    teacher: FrozenTeacher,
    images: torch.Tensor,
    targets: torch.Tensor,
    *,
    steps: int,
    batch: int,
    stored: Stored,
) -> SyntheticBatch:
    """Rounds images [N, C, H, W] to what is stored, and asks the teacher about exactly that."""
    images = as_stored(images.detach(), teacher.spec, stored)
    return SyntheticBatch(
        images=images,
        logits=judge(teacher, images, batch),
        targets=targets,
        steps=torch.full_like(targets, steps),
    )


def seeded_generator(
    spec: ImageSpec, random: torch.Generator, *, latent: int, width: int
) -> ImageGenerator:
    """Returns a generator of images with weights from `random`, on the CPU.

    The random state of the process, from which torch draws weights first, is left as it was.
    """
    with torch.random.fork_rng(devices=[]):
        network = ImageGenerator(spec, latent=latent, width=width)
    return network.initialise(random)
