"""From signals of any scale to pixels: covariance of colours, contrast, brightness, all random.

Signals are mixed so that the channels mostly move together, as they do in photographs (Ruderman,
Cronin and Chiao, "Statistics of cone responses to natural images", JOSA A 1998), and each picture
gets a contrast and a brightness of its own.
"""

from __future__ import annotations

import torch

from cake_edge.priors.base import uniform

__all__ = ["colour_mixing", "exposed", "hardened"]

CONTRAST = (0.1, 0.35)  # standard deviation of pixels in [0, 1]
BRIGHTNESS = (0.25, 0.75)  # mean of pixels in [0, 1]
CAST = 0.15  # how far the mean of one channel may leave it
HARDNESS = (-2.0, 3.0)  # binary logarithm of the gain before a picture saturates
SILENT = 1e-6  # standard deviation of what is not amplified further


def colour_mixing(count: int, channels: int, signals: int, random: torch.Generator) -> torch.Tensor:
    """Returns [count, channels, signals]: what each signal adds to each channel.

    A signal is grey with a tint; the strength of tints is a picture's own, from none to strong.
    """
    grey = torch.randn((count, 1, signals), generator=random, device=random.device)
    tint = torch.randn((count, channels, signals), generator=random, device=random.device)
    if channels == 1:
        return grey
    mixing: torch.Tensor = grey + tint * uniform(0, 1, (count, 1, 1), random)
    return mixing


def exposed(signals: torch.Tensor, random: torch.Generator) -> torch.Tensor:
    """Takes [N, C, H, W] of any scale to pixels in [0, 1], each picture exposed in its own way."""
    count, channels = signals.shape[:2]
    centred = signals - signals.mean((1, 2, 3), keepdim=True)
    gain = uniform(*CONTRAST, (count, 1, 1, 1), random) / _spread(centred)
    cast = uniform(-CAST, CAST, (count, channels, 1, 1), random)
    level = uniform(*BRIGHTNESS, (count, 1, 1, 1), random) + cast
    return torch.addcmul(level, centred, gain).clamp_(0, 1)


def hardened(signals: torch.Tensor, random: torch.Generator) -> torch.Tensor:
    """Lets [N, C, H, W] about zero saturate: some stay smooth, others become flat with edges."""
    gain = 2 ** uniform(*HARDNESS, (len(signals), 1, 1, 1), random)
    return (signals * (gain / _spread(signals))).tanh_()


def _spread(signals: torch.Tensor) -> torch.Tensor:
    return signals.square().mean((1, 2, 3), keepdim=True).sqrt().clamp_min(SILENT)
