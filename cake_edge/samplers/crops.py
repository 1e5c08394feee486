"""Views of images that are being moved, with gradients to them: crops, rolls, mirror images."""

from __future__ import annotations

import torch
from torch.nn import functional

__all__ = ["jittered", "random_crops"]


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


def jittered(
    images: torch.Tensor, share: float, random: torch.Generator, *, flip: bool = True
) -> torch.Tensor:
    """Returns all images [N, C, H, W] rolled by the same few pixels, and mirrored or not.

    Args:
        images: of any range.
        share: the most that they are rolled by, of a side; a pixel at least, 0 for none.
        random: on the processor, so that no step waits for a number from a GPU.
        flip: mirror them half of the time.
    """
    reach = [max(1, int(side * share)) if share else 0 for side in images.shape[2:]]
    moves = [int(torch.randint(-r, r + 1, (), generator=random)) for r in reach]
    images = torch.roll(images, moves, (2, 3))
    if flip and torch.rand((), generator=random) < 0.5:
        images = images.flip(3)
    return images
