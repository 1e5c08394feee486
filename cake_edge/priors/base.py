"""Where an image starts: the interface of all priors."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Protocol

import torch

from cake_edge.precision import mixed
from cake_edge.spec import ImageSpec

__all__ = ["Prior", "in_blocks", "random_choice", "to_normalised", "uniform"]

BLOCK = 1 << 20  # pixels worked on at once: keeps the working set near the processor


class Prior(Protocol):
    """Draws images without looking at any data."""

    def __call__(self, count: int, spec: ImageSpec, random: torch.Generator) -> torch.Tensor:
        """Returns [count, C, H, W] float32 in the normalised space, on the generator's device."""


def in_blocks(
    draw: Callable[[int, ImageSpec, torch.Generator], torch.Tensor],
    count: int,
    spec: ImageSpec,
    random: torch.Generator,
) -> torch.Tensor:
    """Draws `count` images of pixels in blocks of bounded memory; returns them normalised.

    In float32 whatever the teacher computes in: in bfloat16 a grating would be another.
    """
    step = max(1, BLOCK // (spec.height * spec.width))
    images = torch.empty((count, *spec.input_size), device=random.device)
    for start in range(0, count, step):
        size = min(step, count - start)
        with mixed("float32", random.device):
            images[start : start + size] = to_normalised(draw(size, spec, random), spec)
    return images


def to_normalised(pixels: torch.Tensor, spec: ImageSpec) -> torch.Tensor:
    """Takes pixels in [0, 1], [N, C, H, W], into the normalised space of `spec`."""
    mean, std = _constants(spec.mean, spec.std, pixels.device)
    return (pixels - mean) / std


@lru_cache(maxsize=16)  # a generator asks at every step: none waits for constants to reach a GPU
def _constants(
    mean: tuple[float, ...], std: tuple[float, ...], device: torch.device
) -> tuple[torch.Tensor, torch.Tensor]:
    """Each [1, C, 1, 1], and fit for passes with gradients wherever they are first asked for."""
    with torch.inference_mode(mode=False):
        means, stds = torch.tensor([mean, std]).view(2, 1, -1, 1, 1)
        return means.to(device), stds.to(device)


def uniform(
    low: float, high: float, shape: tuple[int, ...], random: torch.Generator
) -> torch.Tensor:
    """Returns uniform draws from [low, high)."""
    return torch.rand(shape, generator=random, device=random.device) * (high - low) + low


def random_choice(
    probability: float, shape: tuple[int, ...], random: torch.Generator
) -> torch.Tensor:
    """Returns booleans that are true with `probability`."""
    return torch.rand(shape, generator=random, device=random.device) < probability
