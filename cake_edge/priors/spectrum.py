"""Noise with a power law: amplitudes fall with frequency as 1/f^a.

Photographs have a near 1 (Field, "Relations between the statistics of natural images and the
response properties of cortical cells", JOSA A 1987); noise of such spectra was found to teach
networks by Baradad et al., "Learning to see by looking at noise" (NeurIPS 2021). Here each picture
has an exponent of its own, and a direction along which it is stretched.
"""

from __future__ import annotations

import math

import torch

from cake_edge.priors.base import in_blocks, uniform
from cake_edge.priors.exposure import colour_mixing, exposed
from cake_edge.spec import ImageSpec

__all__ = ["spectrum"]

EXPONENT = (0.5, 2.0)
STRETCH = (-1.0, 1.0)  # binary logarithm


def spectrum(count: int, spec: ImageSpec, random: torch.Generator) -> torch.Tensor:
    """Returns `count` images of coloured noise, [count, C, H, W], in the normalised space."""
    return in_blocks(_draw, count, spec, random)


def _draw(count: int, spec: ImageSpec, random: torch.Generator) -> torch.Tensor:
    size = (spec.height, spec.width)
    noise = torch.randn((count, *spec.input_size), generator=random, device=random.device)
    # Mixed while white: what is linear may come in any order, and this is the smaller array.
    mixing = colour_mixing(count, spec.channels, spec.channels, random)
    white = torch.bmm(mixing, noise.flatten(2)).view(count, *spec.input_size)
    amplitude = _amplitude(count, spec, random).unsqueeze(1)
    shaped = torch.fft.irfft2(torch.fft.rfft2(white) * amplitude, s=size)
    return exposed(shaped, random)


def _amplitude(count: int, spec: ImageSpec, random: torch.Generator) -> torch.Tensor:
    """What each frequency is multiplied by, [count, H, W // 2 + 1]; nothing is left of the mean."""
    device, small = random.device, (count, 1, 1)
    # In cycles a pixel on both axes: the spectrum of a wide picture is as round as a square one's.
    down = torch.fft.fftfreq(spec.height, device=device).unsqueeze(1)
    across = torch.fft.rfftfreq(spec.width, device=device)
    turn = uniform(0, math.pi, small, random)
    stretch = 2 ** uniform(*STRETCH, small, random)
    p = (across * turn.cos() + down * turn.sin()) * stretch
    q = (down * turn.cos() - across * turn.sin()) / stretch
    squared = p * p + q * q
    squared[:, 0, 0] = 1
    amplitude: torch.Tensor = squared.log().mul_(uniform(*EXPONENT, small, random) * -0.5).exp_()
    amplitude[:, 0, 0] = 0
    return amplitude
