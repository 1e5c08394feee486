"""Views of a pool: what teacher and student are both shown at one step.

Function matching (Beyer et al., arXiv 2106.05237): the same view, changed at every step, goes to
the teacher and to the student. Step k depends on the seed and on k alone; of several ranks each
makes its own views of it, drawn as if it made them all.
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
from cake_edge.ranks import ALONE, Rank
from cake_edge.seeding import generator
from cake_edge.stored_images import ImageSource
from cake_edge.teachers.frozen import FrozenTeacher
from cake_edge.workers import packed, unpacked

__all__ = ["ViewConfig", "Views", "class_index"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ViewConfig:
    """How a view is made of pooled images."""

    batch: int
    """Views a step, of all ranks together."""
    augment: bool
    """Flip, turn, move and scale; without it the pool's own logits are used as they are."""
    motion: float
    """How far augmentation turns, moves and scales; 1 for the usual, 0 for flips alone."""
    mixed: float
    """Share of the views that are blended with another view (mixup)."""
    balance: bool
    """Draw classes evenly, then an image of the class; otherwise every image once an epoch. Of no
    account where images have weights."""
    precision: Precision = "float32"
    """In which the teacher answers views that are changed."""


class Views(IterableDataset[tuple[torch.Tensor, torch.Tensor]]):
    """Yields (views [B, C, H, W], teacher logits [B, K]) for the steps `first` to `last` - 1.

    Of several ranks each gets every n-th view of a step: B is its own number of them.

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
        rank: Rank = ALONE,
        weights: torch.Tensor | None = None,
    ) -> None:
        """Names what views are made of.

        Args:
            images: N of them.
            logits: [N, K], the teacher's of them.
            weights: [N], of which an image is drawn in proportion; None goes by `config`.
        """
        self.images, self.logits, self.teacher, self.config = images, logits, teacher, config
        self.seed, self.first, self.last, self.rank = seed, first, last, rank
        self.order, self.starts, self.sizes = class_index(logits.argmax(1))
        self._orders: dict[int, torch.Tensor] = {}
        self._mass = None if weights is None else weights.double().cumsum(0).to(logits.device)
        self._shape = (teacher.spec.height, teacher.spec.width)

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
        config, random = self.config, generator(self.seed, "views", step, device=self.logits.device)
        index = self._draw(step, random)
        mine = slice(self.rank.index, None, self.rank.world)
        if not config.augment:
            return self.images.gather(index[mine]), self.logits[index[mine]]
        motions = _motions(config.batch, config.motion, self._shape, random)
        partner, weight = _partners(config.batch, config.mixed, random)
        images = _move(self.images.gather(index[mine]), motions[mine])
        partner, weight = partner[mine], weight[mine]
        if self.rank.alone:
            images = _mix(images, images[partner], weight)
        elif len(partner):  # another rank's views, as it makes them
            others = _move(self.images.gather(index[partner]), motions[partner])
            images = _mix(images, others, weight)
        with torch.no_grad(), mixed(config.precision, images.device):
            return images, self.teacher(images)

    def _draw(self, step: int, random: torch.Generator) -> torch.Tensor:
        shape, device = (self.config.batch,), random.device
        if self._mass is not None:
            share = torch.rand(shape, generator=random, device=device, dtype=torch.float64)
            place = torch.searchsorted(self._mass, share * self._mass[-1], right=True)
            return place.clamp_max(len(self._mass) - 1)
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


def _motions(
    count: int, motion: float, shape: tuple[int, int], random: torch.Generator
) -> torch.Tensor:
    """Affine maps [count, 2, 3]: half of them flip, and each turns, scales and shifts a little.

    They act on places in [-1, 1], of which a wide image (`shape`: height, width) has as many from
    side to side as from top to bottom: what a turn takes from one axis to the other is as much
    larger or smaller.
    """
    device, (height, width) = random.device, shape

    def draw(low: float, high: float) -> torch.Tensor:
        return torch.rand(count, generator=random, device=device) * (high - low) + low

    turn, zoom = draw(-0.2, 0.2) * motion, 2 ** (draw(-0.4, 0.4) * motion)
    stretch = 2 ** (draw(-0.2, 0.2) * motion)
    flip = torch.where(draw(0, 1) < 0.5, -1.0, 1.0)
    across, down = draw(-0.25, 0.25) * motion, draw(-0.25, 0.25) * motion
    cosine, sine = turn.cos(), turn.sin()
    to_right, to_bottom = -sine * (height / width), flip * sine * (width / height)
    return torch.stack(
        [
            torch.stack([flip * cosine * zoom * stretch, to_right * zoom / stretch, across], 1),
            torch.stack([to_bottom * zoom * stretch, cosine * zoom / stretch, down], 1),
        ],
        1,
    )


def _move(images: torch.Tensor, motions: torch.Tensor) -> torch.Tensor:
    """Images [M, C, H, W], each seen through its own affine map."""
    return functional.grid_sample(
        images, _places(motions, images.shape[2], images.shape[3]),
        mode="bilinear", padding_mode="border", align_corners=False,
    )  # fmt: skip


def _places(motions: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """Where each pixel of a view is seen, [M, height, width, 2] in [-1, 1].

    torch's `affine_grid` without its matrix product, which takes most of a small view's time.
    """
    across = (torch.arange(width, device=motions.device) * 2 + 1) / width - 1
    down = (torch.arange(height, device=motions.device) * 2 + 1) / height - 1
    places = motions.new_empty((len(motions), height, width, 2))
    for axis in range(2):
        by_column, by_row, shift = motions[:, axis, :, None].unbind(1)
        torch.add(
            (by_column * across).unsqueeze(1), (by_row * down + shift).unsqueeze(2),
            out=places[..., axis],
        )  # fmt: skip
    return places


def _partners(
    count: int, share: float, random: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Whom the first of `count` views are blended with, and by which weight: [share * count]."""
    blended, device = math.floor(count * share), random.device
    if blended == 0:
        return torch.zeros(0, dtype=torch.int64, device=device), torch.zeros(0, device=device)
    partner = torch.randperm(count, generator=random, device=device)[:blended]
    # The lesser weight goes to the partner, so that every view keeps its own class in the lead.
    return partner, torch.rand(blended, generator=random, device=device) * 0.5


def _mix(images: torch.Tensor, others: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Blends the first images with as many others, by weights [len(others)] (mixup)."""
    blended = len(others)
    if blended == 0:
        return images
    first = torch.lerp(images[:blended], others, weight.view(-1, 1, 1, 1))
    return torch.cat([first, images[blended:]])
