"""CAKE's terms as the paper states them: sums over an image's pixels and over a tuple's pairs.

Braun, Mundt, Kersting, arXiv 2306.02090. The authors' released code takes means over the batch
(`pair_contrast_released`, `total_variation_released`); these are one value an image, and do not
depend on how many others there are.
"""

from __future__ import annotations

import torch

__all__ = ["pair_energy", "summed_variation"]


def pair_energy(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Returns each image's half of the contrast with its tuple, [T, G].

    sum over j of [y_i != y_j] ||z_i - z_j||^2 / 2: summed over a tuple, every pair counts once.

    Args:
        logits: [T, G, K], T tuples of G images.
        targets: [T, G] int64.
    """
    distance = (logits.unsqueeze(2) - logits.unsqueeze(1)).square().sum(3)
    differ = targets.unsqueeze(2) != targets.unsqueeze(1)
    return (distance * differ).sum(2) / 2


def summed_variation(images: torch.Tensor) -> torch.Tensor:
    """Returns the sum of |x[j, k] - x[j-1, k]| + |x[j, k] - x[j, k-1]| of every image, [N].

    Args:
        images: [N, C, H, W].
    """
    down = (images[:, :, 1:] - images[:, :, :-1]).abs().sum((1, 2, 3))
    across = (images[..., 1:] - images[..., :-1]).abs().sum((1, 2, 3))
    return down + across
