"""Pushing images towards a class."""

from __future__ import annotations

import torch
from torch.nn import functional

__all__ = [
    "target_binary_cross_entropy",
    "target_cross_entropy",
    "target_cross_entropy_released",
]


def target_cross_entropy(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Returns the cross-entropy of every image, [N], not reduced.

    L_cls of arXiv 2306.02090: -log softmax(z)[y]. The gradient of one image does not depend on
    how many others are in the batch.

    Args:
        logits: [N, K].
        targets: [N] int64.
    """
    return functional.cross_entropy(logits, targets, reduction="none")


def target_binary_cross_entropy(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Returns the binary cross-entropy of every image's target label alone, [N], not reduced.

    -log sigmoid(z)[y]: labels do not exclude each other, so nothing is asked of the others.

    Args:
        logits: [N, K].
        targets: [N] int64.
    """
    return functional.softplus(-logits.gather(1, targets.unsqueeze(1)).squeeze(1))


def target_cross_entropy_released(
    logits: torch.Tensor, targets: torch.Tensor, tuple_size: int
) -> torch.Tensor:
    """Returns the authors' released form: G times the mean over the batch, a scalar.

    Its weight is tied to the batch: per image the factor is G / B.
    """
    return tuple_size * functional.cross_entropy(logits, targets)
