"""Oriented gratings and Gabor patches: waves of random direction, size, place and colour.

Gabor functions are what simple cells of the visual cortex and first layers of classifiers answer
to (Daugman, JOSA A 1985); sums of many of them are a texture model of its own (Lagae et al.,
"Procedural noise using sparse Gabor convolution", SIGGRAPH 2009).

A wave sin(ux + vy + phase) under a round window exp(-(x^2 + y^2) / 2s^2) is the sum of two products
of a function of x and one of y. So a picture is one product of matrices, however many waves it has.
"""

from __future__ import annotations

import math

import torch

from cake_edge.priors.base import in_blocks, random_choice, uniform
from cake_edge.priors.exposure import colour_mixing, exposed, hardened
from cake_edge.priors.texture import grid
from cake_edge.spec import ImageSpec

__all__ = ["gratings"]

WAVES = 12
LONGEST = 0.5  # cycles across the shorter side
SHORTEST = 24.0
PIXELS = 3.0  # a cycle at least: shorter ones alias
WINDOW = (-3.0, 1.5)  # binary logarithm of the standard deviation, in halves of the shorter side


def gratings(count: int, spec: ImageSpec, random: torch.Generator) -> torch.Tensor:
    """Returns `count` sums of gratings and Gabor patches, [count, C, H, W], normalised."""
    return in_blocks(_draw, count, spec, random)


def _draw(count: int, spec: ImageSpec, random: torch.Generator) -> torch.Tensor:
    across, down = (axis.flatten() for axis in grid(spec.height, spec.width, random.device))
    small = (count, WAVES, 1)
    highest = max(2 * LONGEST, min(SHORTEST, min(spec.height, spec.width) / PIXELS))
    octaves = uniform(math.log2(LONGEST), math.log2(highest), small, random)
    turn, phase = uniform(0, 2 * math.pi, (2, *small), random)
    rate = math.pi * 2**octaves  # the shorter side is two units long
    x0, y0 = uniform(-1, 1, (2, *small), random)
    # A quarter has no window to speak of: plain gratings from edge to edge.
    plain = random_choice(0.25, small, random)
    width = 2 ** uniform(*WINDOW, small, random)
    decay = torch.where(plain, torch.zeros_like(width), width**-2 / 2)

    dx, dy = across - x0, down - y0
    x_part, y_part = dx * rate * turn.cos(), dy * rate * turn.sin() + phase
    x_window, y_window = (dx.square() * -decay).exp(), (dy.square() * -decay).exp()
    # sin(a + b) = sin a cos b + cos a sin b
    right = torch.cat([x_part.sin() * x_window, x_part.cos() * x_window], 1)
    left = torch.cat([y_part.cos() * y_window, y_part.sin() * y_window], 1)
    colour = _colours(count, spec.channels, random).repeat(1, 1, 2)
    # [N, C, 1, K] * [N, 1, H, K] @ [N, K, W]
    rows = (colour.unsqueeze(2) * left.transpose(1, 2).unsqueeze(1)).flatten(1, 2)
    picture = torch.bmm(rows, right).view(count, *spec.input_size)
    return exposed(hardened(picture, random), random)


def _colours(count: int, channels: int, random: torch.Generator) -> torch.Tensor:
    """What each wave adds to each channel, [count, C, WAVES]; one to all of them take part."""
    parts = torch.randint(1, WAVES + 1, (count, 1, 1), generator=random, device=random.device)
    taking_part = torch.arange(WAVES, device=random.device) < parts
    return colour_mixing(count, channels, WAVES, random) * taking_part
