"""How a pool keeps the values of its images: as floats, or as one of 256 levels.

A level v of channel c stands for the pixel v / 255 and enters the teacher as
(v / 255 - mean[c]) / std[c], as any 8-bit picture does. It takes half of what float16 takes, and
holds nothing darker than black or brighter than white.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Literal, get_args

import torch

from cake_edge.errors import NumericsError, UsageMistake
from cake_edge.spec import ImageSpec

__all__ = ["Stored", "as_stored", "check_stored", "decoded", "encoded"]

Stored = Literal["uint8", "float16", "float32"]
"""What one value of an image is kept as."""

LEVELS = 255
SLACK = 0.5
"""How far beyond black and white a value may lie, in levels: no further than rounding moves it."""


def check_stored(stored: str, beyond: str = "") -> None:
    """Refuses what is no way to keep images, or would cut what they hold.

    Args:
        stored: the setting.
        beyond: what takes the images out of [0, 1]; empty where nothing does.

    Raises:
        UsageMistake: there is no such way, or it holds pixels of [0, 1] alone and these are not.
    """
    allowed = get_args(Stored)
    if stored not in allowed:
        raise UsageMistake(f"stored is {stored!r}; allowed: {', '.join(allowed)}")
    if stored == "uint8" and beyond:
        raise UsageMistake(
            f"stored is 'uint8', which holds pixels from black to white alone, and {beyond}; "
            "choose float16 or float32"
        )


def encoded(images: torch.Tensor, spec: ImageSpec, stored: Stored) -> torch.Tensor:
    """Returns images [..., C, H, W] of the normalised space of `spec` as a pool keeps them.

    Raises:
        NumericsError: a pixel is not of [0, 1], and `stored` holds no other.
    """
    if stored != "uint8":
        return images.to(torch.float16 if stored == "float16" else torch.float32)
    scale, black = _line(spec.mean, spec.std, images.device)
    levels = (images - black).div_(scale)
    lowest, highest = (float(bound) for bound in levels.aminmax())
    if not (lowest >= -SLACK and highest <= LEVELS + SLACK):  # so that NaN is refused as well
        raise NumericsError(
            f"images with pixels from {lowest / LEVELS:.3g} to {highest / LEVELS:.3g} were made, "
            "and stored = 'uint8' holds those of [0, 1] alone; set stored to float16 or float32"
        )
    return levels.round_().clamp_(0, LEVELS).to(torch.uint8)


def decoded(kept: torch.Tensor, spec: ImageSpec) -> torch.Tensor:
    """Returns what a pool keeps of images [..., C, H, W] as float32 in the normalised space."""
    if kept.dtype != torch.uint8:
        return kept.float()
    scale, black = _line(spec.mean, spec.std, kept.device)
    return kept.float().mul_(scale).add_(black)


def as_stored(images: torch.Tensor, spec: ImageSpec, stored: Stored) -> torch.Tensor:
    """Returns images [..., C, H, W] rounded to what reading them back will give, in float32.

    Raises:
        NumericsError: as `encoded` does.
    """
    return decoded(encoded(images, spec, stored), spec)


@lru_cache(maxsize=16)  # asked for at every batch: no step waits for constants to reach a GPU
def _line(
    mean: tuple[float, ...], std: tuple[float, ...], device: torch.device
) -> tuple[torch.Tensor, torch.Tensor]:
    """What a level adds, and what black is, in the normalised space: each [C, 1, 1] float32."""
    means, stds = torch.tensor([mean, std], dtype=torch.float64)[..., None, None]
    scale, black = 1 / (LEVELS * stds), -means / stds
    return scale.float().to(device), black.float().to(device)
