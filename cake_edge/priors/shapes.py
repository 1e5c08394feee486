"""Object-centric shapes: a few closed, textured, often mirror-symmetric things on a ground.

Most classifiers are shown one thing in the middle of a picture. This prior draws such pictures of
no thing in particular: closed contours r(angle) with a few harmonics, stretched, turned, often
mirrored at the vertical axis, filled with a texture, painted over one another on a plain or a
textured ground. Nothing in it is fitted to a data set.
"""

from __future__ import annotations

import math

import torch

from cake_edge.priors.base import in_blocks, random_choice, uniform
from cake_edge.priors.texture import colours, fields, grid
from cake_edge.spec import ImageSpec

__all__ = ["shapes"]

PARTS = 4
ANGLES = 128
HARMONICS = 6


def shapes(count: int, spec: ImageSpec, random: torch.Generator) -> torch.Tensor:
    """Returns `count` images of things, [count, C, H, W], in the normalised space."""
    return in_blocks(_draw, count, spec, random)


def _draw(count: int, spec: ImageSpec, random: torch.Generator) -> torch.Tensor:
    across, down = grid(spec.height, spec.width, random.device)
    mirrored = random_choice(0.6, (count, 1, 1), random)
    # Folding the plane at the vertical axis makes whatever is drawn on it mirror-symmetric.
    across = torch.where(mirrored, across.abs(), across)
    # Each texture serves several parts of several images: drawing them costs the most.
    bank = fields(count, spec.height, spec.width, random)
    canvas = _fill(bank, spec, random, plain=0.5)
    parts = torch.randint(1, PARTS + 1, (count,), generator=random, device=random.device)
    coverage = _coverage(across, down, mirrored, random)
    for part in range(PARTS):
        cover = coverage[:, part] * (part < parts)[:, None, None]
        canvas = torch.lerp(canvas, _fill(bank, spec, random, plain=0.3), cover.unsqueeze(1))
    return _finish(canvas, random)


def _fill(
    bank: torch.Tensor, spec: ImageSpec, random: torch.Generator, *, plain: float
) -> torch.Tensor:
    """A colour, mostly moved by a texture along a second colour, [count, C, H, W]."""
    count = len(bank)
    base, other = colours((2, count), spec.channels, random)
    strength = uniform(0, 1, (count, 1), random) * random_choice(1 - plain, (count, 1), random)
    pick = torch.randperm(count, generator=random, device=random.device)
    swing = ((other - base) * strength)[:, :, None, None]
    filled: torch.Tensor = bank[pick].unsqueeze(1) * swing
    return filled.add_(base[:, :, None, None]).clamp_(0, 1)


def _coverage(
    across: torch.Tensor, down: torch.Tensor, mirrored: torch.Tensor, random: torch.Generator
) -> torch.Tensor:
    """How far each pixel lies inside each part, [count, PARTS, H, W] in [0, 1].

    Args:
        across: [count, 1, W].
        down: [H, 1].
        mirrored: [count, 1, 1].
        random: what is drawn with.
    """
    count, height, width = len(across), len(down), across.shape[-1]
    small = (count, PARTS, 1, 1)
    first = torch.arange(PARTS, device=across.device).view(1, -1, 1, 1) == 0
    # The first part is the body: central and large. The others hang about it.
    spread = torch.where(first, 0.15, 0.8)
    x0 = uniform(-1, 1, small, random) * spread
    x0 = torch.where(mirrored.unsqueeze(1), x0.abs() * ~first, x0)
    y0 = uniform(-1, 1, small, random) * spread
    size = torch.where(first, uniform(0.3, 1.0, small, random), uniform(0.08, 0.6, small, random))
    stretch = 2 ** uniform(-0.9, 0.9, small, random)
    turn = uniform(-math.pi, math.pi, small, random)
    turn = torch.where(mirrored.unsqueeze(1) & first, torch.zeros_like(turn), turn)

    dx, dy = across.unsqueeze(1) - x0, down - y0
    p = (dx * turn.cos() + dy * turn.sin()).div_(size * stretch)
    q = (dy * turn.cos() - dx * turn.sin()).div_(size / stretch)
    # Between an ellipse (0) and a box (1).
    boxy = uniform(-0.5, 1.2, small, random).clamp(0, 1)
    round_radius = torch.hypot(p, q)
    angle = torch.atan2(p, -q)  # from the vertical axis, so that cosines are mirror-symmetric
    radius = round_radius.lerp_(torch.maximum(p.abs_(), q.abs_()), boxy)
    index = angle.div_(2 * math.pi).add_(0.5).mul_(ANGLES - 1).round_().long()
    contour = _contours(count, random).gather(2, index.view(count, PARTS, -1))
    distance = contour.view(count, PARTS, height, width).sub_(radius).mul_(size)
    hollow = random_choice(0.15, small, random)
    ring = uniform(0.05, 0.25, small, random)
    distance = torch.where(hollow, ring - (distance - ring).abs_(), distance)
    edge = min(height, width) * 0.5 * 2 ** uniform(-1.5, 0.8, small, random)
    return distance.mul_(edge).add_(0.5).clamp_(0, 1)


def _contours(count: int, random: torch.Generator) -> torch.Tensor:
    """Radii over the angle, [count, PARTS, ANGLES]: one plus a few harmonics of falling weight."""
    angle = torch.linspace(-math.pi, math.pi, ANGLES, device=random.device)
    order = torch.arange(1, HARMONICS + 1, device=random.device)
    phase = uniform(-math.pi, math.pi, (count, PARTS, HARMONICS, 1), random)
    phase = phase * random_choice(0.5, (count, PARTS, 1, 1), random)
    weight = torch.randn((count, PARTS, HARMONICS, 1), generator=random, device=random.device)
    weight = weight * (uniform(0, 0.5, (count, PARTS, 1, 1), random) / order.sqrt().view(-1, 1))
    wave = torch.cos(order.view(-1, 1) * angle + phase)
    return (1 + (weight * wave).sum(2)).clamp_min(0.1)


def _finish(canvas: torch.Tensor, random: torch.Generator) -> torch.Tensor:
    """Some noise and some loss of contrast, as cameras and scanners give."""
    count = canvas.shape[0]
    noisy = uniform(0, 0.12, (count, 1, 1, 1), random) * random_choice(
        0.4, (count, 1, 1, 1), random
    )
    noise = torch.randn(canvas.shape, generator=random, device=random.device)
    gain = torch.where(
        random_choice(0.3, (count, 1, 1, 1), random), uniform(0.4, 1, (count, 1, 1, 1), random), 1.0
    )
    return canvas.sub_(0.5).mul_(gain).add_(0.5).add_(noise.mul_(noisy)).clamp_(0, 1)
