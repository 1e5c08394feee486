"""What a trained network lets one know of its training images: numbers of each image, by layer.

Their mean over images like those is zero. Over others it is not, and says how they differ.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.nn.modules.instancenorm import _InstanceNorm

from cake_edge.hooks import input_of, statistics_layers
from cake_edge.seeding import generator
from cake_edge.stored_images import ImageSource
from cake_edge.teachers.frozen import FrozenTeacher

__all__ = ["NormMoments"]

FEATURES = 2_048
"""Most moments that are told apart; more are summed at random signs into as many."""
FLOOR = 1e-2
"""Least variance of a channel, of its layer's mean one: a dead channel says nothing."""
LARGEST = 1e6
"""What an activation that overflows counts as, in standard deviations."""
BATCH, SIDE = 500, 64
"""Images a pass of that many pixels along a side, or fewer larger ones."""


class NormMoments:
    """Of what enters each batch norm, the shift and the second moment of every channel.

    In standard deviations that the layer remembers of the training images; each layer counts as
    much as any other. Layers are left out that have seen no images, or whose input has not a row
    for each image (LeViT's, where every place of a map has one).
    """

    def __init__(self, teacher: FrozenTeacher, seed: int) -> None:
        """Finds the layers.

        Args:
            seed: of the random signs, where there are more than `FEATURES` moments.
        """
        self.teacher = teacher
        self.layers = {
            name: layer
            for name, layer in statistics_layers(teacher.network).items()
            if not isinstance(layer, _InstanceNorm) and _taught(layer)
        }
        self._seed, self._rows = seed, 0
        self._seen: dict[str, list[torch.Tensor]] = {}
        self._folding: tuple[torch.Tensor, torch.Tensor] | None = None

    def of(self, images: ImageSource, index: torch.Tensor) -> Iterator[torch.Tensor]:
        """Yields the moments [B, F] of the images that `index` names, some at a time, in order."""
        height, width = self.teacher.spec.height, self.teacher.spec.width
        batch = min(BATCH, max(1, BATCH * SIDE**2 // (height * width)))
        for part in index.split(batch):
            self._rows = len(part)
            with torch.no_grad(), self._watched():
                self.teacher(images.gather(part.to(self.teacher.device)))
            # A layer that is called twice remembers both.
            found = [torch.stack(calls).mean(0) for calls in self._seen.values()]
            yield self._folded(torch.cat(found, 1) if found else torch.zeros(len(part), 0))

    @contextmanager
    def _watched(self) -> Iterator[None]:
        self._seen = {}
        handles = [
            layer.register_forward_pre_hook(self._hook_of(name), with_kwargs=True)
            for name, layer in self.layers.items()
        ]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _hook_of(self, name: str) -> Any:
        def hook(layer: nn.Module, args: tuple[Any, ...], named: dict[str, Any]) -> None:
            inputs = input_of(args, named)
            if len(inputs) == self._rows:
                self._seen.setdefault(name, []).append(_of_norm(layer, inputs))

        return hook

    def _folded(self, moments: torch.Tensor) -> torch.Tensor:
        """Many columns as few, each a sum of some at random signs: inner products stay as large."""
        columns = moments.shape[1]
        if columns <= FEATURES:
            return moments
        if self._folding is None:
            random = generator(self._seed, "matching", 1)
            place = torch.randint(FEATURES, (columns,), generator=random)
            sign = torch.randint(2, (columns,), generator=random) * 2.0 - 1.0
            self._folding = place.to(moments.device), sign.to(moments.device)
        place, sign = self._folding
        folded = moments.new_zeros((len(moments), FEATURES))
        return folded.index_add_(1, place, moments * sign)


def _taught(layer: nn.Module) -> bool:
    """Whether it remembers a mean, and not only what every layer begins with."""
    mean, variance = getattr(layer, "running_mean", None), layer.get_buffer("running_var")
    if not isinstance(mean, torch.Tensor):
        return False
    return bool((mean != 0).any() or (variance != 1).any())


def _of_norm(layer: nn.Module, inputs: torch.Tensor) -> torch.Tensor:
    """Of inputs [N, C, ...]: the shift of each channel, and how far its second moment is off."""
    mean, variance = layer.get_buffer("running_mean"), layer.get_buffer("running_var")
    # What the layer divides by: a variance that `eps` drowns is none to it.
    eps = float(getattr(layer, "eps", 1e-5))
    deviation = (variance.clamp_min(FLOOR * float(variance.mean())) + eps).sqrt()
    flat = inputs.float().flatten(2) if inputs.ndim > 2 else inputs.float().unsqueeze(2)
    scaled = (flat - mean[:, None]) / deviation[:, None]
    scaled = scaled.nan_to_num_(0.0, LARGEST, -LARGEST).clamp_(-LARGEST, LARGEST)
    share = (variance / deviation.square())[None]
    found = torch.cat([scaled.mean(2), scaled.square().mean(2) - share], 1)
    return found.div_(math.sqrt(len(mean)))
