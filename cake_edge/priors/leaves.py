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
    # Painted from the back to the front: a pixel keeps the last leaf that covers it.
    for leaf in reversed(range(LEAVES)):
        dx, dy = across - x0[leaf], down - y0[leaf]
        p = (dx * cosine[leaf] + dy * sine[leaf]).mul_(stretch[leaf]).abs_()
        q = (dy * cosine[leaf] - dx * sine[leaf]).div_(stretch[leaf]).abs_()
        corner = torch.maximum(p, q)
        radius = torch.where(boxy[leaf], corner, p.mul_(p).add_(q.mul_(q)).sqrt_())
        number.masked_fill_(radius < size[leaf], leaf)
    palette = colours((count, LEAVES + 1), spec.channels, random)
    flat = number.view(count, -1, 1).expand(-1, -1, spec.channels)
    canvas = palette.gather(1, flat).view(count, spec.height, spec.width, -1).permute(0, 3, 1, 2)
    texture = fields(count, spec.height, spec.width, random).unsqueeze(1)
    strength = uniform(0, 0.3, (count, 1, 1, 1), random)
    return texture.mul(strength).add(canvas).clamp_(0, 1)
