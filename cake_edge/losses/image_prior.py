"""What is known of images before any is seen: neighbouring pixels are alike."""

from __future__ import annotations

import torch

__all__ = ["total_variation", "total_variation_released"]


def total_variation(images: torch.Tensor) -> torch.Tensor:
    """Returns the mean variation along a scan line of every image, [N].

    The sum of |x[j, k] - x[j-1, k]| over a column, averaged over columns and channels, plus the
    same along the rows. Unlike a mean over pixels it does not change when an image is enlarged by
    repeating pixels, so one weight means the same at every resolution.

    Args:
        images: [N, C, H, W].
    """
    down = (images[:, :, 1:] - images[:, :, :-1]).abs().sum(2).mean((1, 2))
    across = (images[..., 1:] - images[..., :-1]).abs().sum(3).mean((1, 2))
    return down + across


def total_variation_released(images: torch.Tensor) -> torch.Tensor:
    """Returns the authors' released form, a scalar: mean |vertical| plus mean |horizontal| step."""
    down = (images[:, :, 1:] - images[:, :, :-1]).abs().mean()
    across = (images[..., 1:] - images[..., :-1]).abs().mean()
    return down + across
