"""Local views: a part of every image, enlarged to the whole, with gradients to it."""

from __future__ import annotations

import torch
from torch.nn import functional

__all__ = ["random_crops"]


def random_crops(
    images: torch.Tensor, area: tuple[float, float], random: torch.Generator
) -> torch.Tensor:
    """Returns of every image [N, C, H, W] a crop that keeps its shape, half of them mirrored.

    Args:
        images: of any range.
        area: the least and the greatest share of the image that a crop shows.
        random: on the device of the images.
    """
    count, device = len(images), images.device

    def draw(low: float, high: float) -> torch.Tensor:
        return torch.rand(count, generator=random, device=device) * (high - low) + low

    side = draw(*area).sqrt()
    across, down = draw(-1, 1) * (1 - side), draw(-1, 1) * (1 - side)
    flip = torch.where(draw(0, 1) < 0.5, -1.0, 1.0)
    zero = torch.zeros_like(side)
    matrix = torch.stack(
        [torch.stack([side * flip, zero, across], 1), torch.stack([zero, side, down], 1)], 1
    )
    where = functional.affine_grid(matrix, list(images.shape), align_corners=False)
    return functional.grid_sample(
        images, where, mode="bilinear", padding_mode="border", align_corners=False
    )
