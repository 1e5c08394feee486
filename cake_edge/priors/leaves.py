"""Dead leaves: many discs and boxes of power-law size that hide one another.

After Lee, Mumford and Huang, "Occlusion models for natural images" (IJCV 2001): sizes follow
r^-3 between a smallest and a largest radius, which gives the statistics of natural scenes.
"""

from __future__ import annotations

import math

import torch

from cake_edge.priors.base import in_blocks, random_choice, uniform
from cake_edge.priors.texture import colours, fields, grid
from cake_edge.spec import ImageSpec

__all__ = ["leaves"]

LEAVES = 32
SMALLEST, LARGEST = 0.08, 1.2  # radii, in halves of the shorter side


def leaves(count: int, spec: ImageSpec, random: torch.Generator) -> torch.Tensor:
    """Returns `count` scenes of overlapping leaves, [count, C, H, W], normalised."""
    return in_blocks(_draw, count, spec, random)


def _draw(count: int, spec: ImageSpec, random: torch.Generator) -> torch.Tensor:
    across, down = grid(spec.height, spec.width, random.device)
    number = torch.full((count, spec.height, spec.width), LEAVES, device=random.device)
    shape = (LEAVES, count, 1, 1)
    x0, y0 = uniform(-1.2, 1.2, (2, *shape), random)
    # Inverse transform of the density r^-3 on [SMALLEST, LARGEST].
    share = uniform(0, 1, shape, random)
    size = (SMALLEST**-2 + share * (LARGEST**-2 - SMALLEST**-2)) ** -0.5
    turn = uniform(0, math.pi, shape, random)
    cosine, sine = turn.cos(), turn.sin()
    boxy = random_choice(0.5, shape, random)
    stretch = 2 ** uniform(-0.7, 0.7, shape, random)
    for leaf in range(LEAVES):
        dx, dy = across - x0[leaf], down - y0[leaf]
        p = ((dx * cosine[leaf] + dy * sine[leaf]) * stretch[leaf]).abs()
        q = ((dy * cosine[leaf] - dx * sine[leaf]) / stretch[leaf]).abs()
        radius = torch.where(boxy[leaf], torch.maximum(p, q), (p * p + q * q).sqrt())
        # Painted from the front to the back: a pixel keeps the first leaf that covers it.
        number = torch.where((radius < size[leaf]) & (number == LEAVES), leaf, number)
    palette = colours((count, LEAVES + 1), spec.channels, random)
    flat = number.view(count, -1, 1).expand(-1, -1, spec.channels)
    canvas = palette.gather(1, flat).view(count, spec.height, spec.width, -1).permute(0, 3, 1, 2)
    texture = fields(count, spec.height, spec.width, random).unsqueeze(1)
    strength = uniform(0, 0.3, (count, 1, 1, 1), random)
    return (canvas + texture * strength).clamp(0, 1)
