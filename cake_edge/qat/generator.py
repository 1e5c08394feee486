"""The class-conditional generator of GDFQ, and what it is trained for.

Xu et al., "Generative Low-bitwidth Data Free Quantization", ECCV 2020, section 3.1: noise and a
label become an image that the float network sees as that label, and whose batch statistics are
those its batch norms remember.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional

from cake_edge.priors.base import to_normalised
from cake_edge.spec import ImageSpec

__all__ = ["ConditionalBatchNorm", "ImageGenerator", "draw_noise"]

START = 8
"""Side of the first map, at most."""


class ConditionalBatchNorm(nn.Module):
    """Batch norm whose gain and shift belong to the label."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels, affine=False)
        self.gain = nn.Embedding(classes, channels)
        self.shift = nn.Embedding(classes, channels)
        nn.init.ones_(self.gain.weight)
        nn.init.zeros_(self.shift.weight)

    def forward(self, maps: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Returns [N, C, H, W] of maps [N, C, H, W] and labels [N]."""
        gain, shift = self.gain(labels), self.shift(labels)
        normalised: torch.Tensor = self.norm(maps)
        return torch.addcmul(shift[:, :, None, None], normalised, gain[:, :, None, None])


class ImageGenerator(nn.Module):
    """Noise times the label's embedding, a linear layer, blocks that double the side, an image.

    The image is in the normalised space of `spec`, and inside its range of pixels: a sigmoid
    makes the pixels. A side that the doublings do not meet is resized to.
    """

    def __init__(self, spec: ImageSpec, *, latent: int = 100, width: int = 128) -> None:
        super().__init__()
        self.spec, self.latent, self.width = spec, latent, width
        doublings = max(2, math.ceil(math.log2(max(spec.height, spec.width) / START)))
        self.start = tuple(math.ceil(side / 2**doublings) for side in (spec.height, spec.width))
        self.embedding = nn.Embedding(spec.classes, latent)
        self.linear = nn.Linear(latent, width * self.start[0] * self.start[1])
        self.first = ConditionalBatchNorm(width, spec.classes)
        widths = [width] * doublings + [width // 2]
        self.convolutions = nn.ModuleList(
            nn.Conv2d(before, after, 3, padding=1) for before, after in pairwise(widths)
        )
        self.norms = nn.ModuleList(ConditionalBatchNorm(w, spec.classes) for w in widths[1:])
        self.last = nn.Conv2d(width // 2, spec.channels, 3, padding=1)
        self.out_norm = nn.BatchNorm2d(spec.channels)

    def initialise(self, random: torch.Generator) -> ImageGenerator:
        """Draws all weights from `random`, on the CPU; returns itself."""
        for module in self.modules():
            if isinstance(module, (nn.Conv2d, nn.Linear)):
                bound = 1 / math.sqrt(module.weight[0].numel())
                nn.init.uniform_(module.weight, -bound, bound, generator=random)
                nn.init.zeros_(module.bias)  # type: ignore[arg-type]
        nn.init.normal_(self.embedding.weight, generator=random)
        return self

    def forward(self, noise: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Returns images [N, C, H, W] of noise [N, latent] and labels [N]."""
        maps = self.linear(noise * self.embedding(labels)).view(-1, self.width, *self.start)
        maps = self.first(maps, labels)
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            maps = functional.interpolate(maps, scale_factor=2.0, mode="nearest")
            maps = functional.leaky_relu(norm(convolution(maps), labels), 0.2)
        pixels = self.out_norm(self.last(maps)).sigmoid()
        size: Sequence[int] = (self.spec.height, self.spec.width)
        if tuple(pixels.shape[2:]) != tuple(size):
            pixels = functional.interpolate(
                pixels, size=list(size), mode="bilinear", align_corners=False
            )
        return to_normalised(pixels, self.spec)


def draw_noise(
    count: int, model: ImageGenerator, random: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns (noise [N, latent] of the normal distribution, labels [N] drawn evenly)."""
    device = random.device
    labels = torch.randint(model.spec.classes, (count,), generator=random, device=device)
    return torch.randn((count, model.latent), generator=random, device=device), labels
