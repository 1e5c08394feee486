"""Views of a pool: what teacher and student are both shown at one step.

Function matching (Beyer et al., arXiv 2106.05237): the same view, changed at every step, goes to
the teacher and to the student. Step k depends on the seed and on k alone.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional
from torch.utils.data import IterableDataset, get_worker_info

from cake_edge.precision import Precision, mixed
from cake_edge.seeding import generator
from cake_edge.stored_images import ImageSource
from cake_edge.teachers.frozen import FrozenTeacher
from cake_edge.workers import packed, unpacked

__all__ = ["ViewConfig", "Views", "class_index"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ViewConfig:
    """How a view is made of pooled images."""

    batch: int
    """Views a step."""
    augment: bool
    """Flip, turn, move and scale; without it the pool's own logits are used as they are."""
    motion: float
    """How far augmentation turns, moves and scales; 1 for the usual, 0 for flips alone."""
    mixed: float
    """Share of the views that are blended with another view (mixup)."""
    balance: bool
    """Draw classes evenly, then an image of the class; otherwise every image once an epoch."""
    precision: Precision = "float32"
    """In which the teacher answers views that are changed."""


class Views(IterableDataset[tuple[torch.Tensor, torch.Tensor]]):
    """Yields (views [B, C, H, W], teacher logits [B, K]) for the steps `first` to `last` - 1.

    In a loader's worker it yields every n-th step, so that the loader, which takes from its
    workers in turn, gives the steps in order.

    Everything happens on the device of the pool's logits, which must be the teacher's.
    """

    def __init__(
        self,
        images: ImageSource,
        logits: torch.Tensor,
        teacher: FrozenTeacher,
        config: ViewConfig,
        *,
        seed: int,
        first: int,
        last: int,
    ) -> None:
        self.images, self.logits, self.teacher, self.config = images, logits, teacher, config
        self.seed, self.first, self.last = seed, first, last
        self.order, self.starts, self.sizes = class_index(logits.argmax(1))
        self._orders: dict[int, torch.Tensor] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {"packed": packed(self.__dict__)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(unpacked(state["packed"]))

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        worker = get_worker_info()
        offset, stride = (worker.id, worker.num_workers) if worker else (0, 1)
        for step in range(self.first + offset, self.last, stride):
            yield self.step(step)

    def step(self, step: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Returns the views and logits of one step."""
        random = generator(self.seed, "views", step, device=self.logits.device)
        index = self._draw(step, random)
        images = self.images.gather(index)
        if not self.config.augment:
            return images, self.logits[index]
        images = _mix(_move(images, self.config.motion, random), self.config.mixed, random)
        with torch.no_grad(), mixed(self.config.precision, images.device):
            return images, self.teacher(images)

    def _draw(self, step: int, random: torch.Generator) -> torch.Tensor:
        shape, device = (self.config.batch,), random.device
        if not self.config.balance:
            return self._next_of_epoch(step)
        group = torch.randint(len(self.sizes), shape, generator=random, device=device)
        share = torch.rand(shape, generator=random, device=device, dtype=torch.float64)
        place = (share * self.sizes[group]).long()
        return self.order[self.starts[group] + place]

    def _next_of_epoch(self, step: int) -> torch.Tensor:
        """The step's part of an endless row of epochs, each the pool in an order of its own."""
        count, batch = len(self.logits), self.config.batch
        place = torch.arange(step * batch, (step + 1) * batch)
        first, last = int(place[0]) // count, int(place[-1]) // count
        orders = [self._epoch(epoch) for epoch in range(first, last + 1)]
        return torch.cat(orders)[place - first * count].to(self.logits.device)

    def _epoch(self, epoch: int) -> torch.Tensor:
        if epoch not in self._orders:
            random = generator(self.seed, "epoch", epoch)
            order = torch.randperm(len(self.logits), generator=random)
            # An epoch is left for good when the one after the next begins.
            self._orders = {k: v for k, v in self._orders.items() if k >= epoch - 1}
            self._orders[epoch] = order
        return self._orders[epoch]


def class_index(labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Groups N labels by class: (order [N], start and size of every class that occurs)."""
    order = torch.argsort(labels, stable=True)
    _, sizes = torch.unique_consecutive(labels[order], return_counts=True)
    return order, sizes.cumsum(0) - sizes, sizes


def _move(images: torch.Tensor, motion: float, random: torch.Generator) -> torch.Tensor:
    """Flips half of the images, and turns, scales and shifts each a little."""
    count, device = len(images), images.device

    def draw(low: float, high: float) -> torch.Tensor:
        return torch.rand(count, generator=random, device=device) * (high - low) + low

    turn, zoom = draw(-0.2, 0.2) * motion, 2 ** (draw(-0.4, 0.4) * motion)
    stretch = 2 ** (draw(-0.2, 0.2) * motion)
    flip = torch.where(draw(0, 1) < 0.5, -1.0, 1.0)
    across, down = draw(-0.25, 0.25) * motion, draw(-0.25, 0.25) * motion
    cosine, sine = turn.cos(), turn.sin()
    matrix = torch.stack(
        [
            torch.stack([flip * cosine * zoom * stretch, -sine * zoom / stretch, across], 1),
            torch.stack([flip * sine * zoom * stretch, cosine * zoom / stretch, down], 1),
        ],
        1,
    )
    where = functional.affine_grid(matrix, list(images.shape), align_corners=False)
    return functional.grid_sample(
        images, where, mode="bilinear", padding_mode="border", align_corners=False
    )


def _mix(images: torch.Tensor, share: float, random: torch.Generator) -> torch.Tensor:
    """Blends a share of the images with another of the batch, by a uniform weight (mixup)."""
    count, device = len(images), images.device
    mixed = math.floor(count * share)
    if mixed == 0:
        return images
    partner = torch.randperm(count, generator=random, device=device)[:mixed]
    weight = torch.rand(mixed, generator=random, device=device).view(-1, 1, 1, 1)
    # The lesser weight goes to the partner, so that every view keeps its own class in the lead.
    weight = weight * 0.5
    blended = torch.lerp(images[:mixed], images[partner], weight)
    return torch.cat([blended, images[mixed:]])
