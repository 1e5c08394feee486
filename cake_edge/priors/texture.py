"""Smooth random fields, stripes and colours: what shapes and grounds are filled with."""

from __future__ import annotations

import math

import torch
from torch.nn import functional

from cake_edge.priors.base import random_choice, uniform

__all__ = ["colours", "fields", "grid"]


def grid(height: int, width: int, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns coordinates across [1, W] and down [H, 1]; the shorter side spans [-1, 1].

    What depends on one of them alone is worked out on one row or column, not on every pixel.
    """
    short = min(height, width)
    down = (torch.arange(height, device=device) * 2 - (height - 1)) / short
    across = (torch.arange(width, device=device) * 2 - (width - 1)) / short
    return across.unsqueeze(0), down.unsqueeze(1)


def colours(shape: tuple[int, ...], channels: int, random: torch.Generator) -> torch.Tensor:
    """Returns colours [*shape, channels] in [0, 1]: a grey level, and a tint where there are three.

    A sixth is black and a sixth is white: plain grounds are common in pictures of things.
    """
    grey = uniform(-0.25, 1.25, shape, random).clamp(0, 1).unsqueeze(-1)
    if channels == 1:
        return grey
    tint = uniform(-0.5, 0.5, (*shape, channels), random)
    strength = uniform(0, 1, shape, random).unsqueeze(-1)
    return (grey + tint * strength).clamp(0, 1)


def fields(count: int, height: int, width: int, random: torch.Generator) -> torch.Tensor:
    """Returns `count` fields [count, H, W] in about [-1, 1], each shaded, striped or cloudy."""
    across, down = grid(height, width, random.device)
    angle = uniform(0, 2 * math.pi, (count, 1, 1), random)
    along = across * angle.cos() + down * angle.sin()
    waves = 2 ** uniform(-0.5, 3.2, (count, 1, 1), random)
    phase = uniform(0, 2 * math.pi, (count, 1, 1), random)
    wave = torch.sin(along * waves * math.pi + phase)
    hard = random_choice(0.4, (count, 1, 1), random)
    wave = torch.where(hard, (wave * 8).clamp(-1, 1), wave)
    kind = torch.rand((count, 1, 1), generator=random, device=random.device)
    field = torch.where(kind > 0.75, along.clamp(-1, 1), wave)
    cloudy = ((kind >= 0.35) & (kind <= 0.75)).flatten().nonzero().flatten()
    field[cloudy] = _clouds(count, cloudy, height, width, random)
    return field


def _clouds(
    count: int, chosen: torch.Tensor, height: int, width: int, random: torch.Generator
) -> torch.Tensor:
    """Sums of coarse to fine noise with random weights: 1/f-like spectra of random slope.

    Returns those of `count` that are `chosen`, [len(chosen), H, W]: what the others would be costs
    the most, and takes nothing but its draws.
    """
    total = torch.zeros((len(chosen), 1, height, width), device=random.device)
    short = min(height, width)
    slope = uniform(0.3, 1.2, (count, 1, 1, 1), random)
    for octave, cells in enumerate((3, 6, 12, 24, 48)):
        if cells > short:
            break
        coarse = torch.randn((count, 1, cells, cells), generator=random, device=random.device)
        smooth = functional.interpolate(
            coarse[chosen], (height, width), mode="bilinear", align_corners=False
        )
        total += smooth.mul_((slope**octave)[chosen])
    if len(chosen) == 0 or short < 3:  # nothing was added, and it has no deviation
        return total.squeeze(1)
    total /= total.std((2, 3), keepdim=True).clamp_min(1e-3)
    return total.clamp_(-2, 2).squeeze(1).mul_(0.6)
