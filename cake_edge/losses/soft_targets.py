"""Pushing images towards a distribution over the classes."""

from __future__ import annotations

import torch

__all__ = ["soft_target_cross_entropy"]


def soft_target_cross_entropy(
    logits: torch.Tensor, wanted: torch.Tensor, temperature: float
) -> torch.Tensor:
    """Returns the cross-entropy with the wanted distribution of every image, [N], not reduced.

    -sum_k y_k log softmax(z / T)_k: L of Nayak et al., arXiv 1905.08114, eq. 3.

    Args:
        logits: z, [N, K].
        wanted: y, [N, K], rows that sum to one.
        temperature: T, positive.
    """
    return -(wanted * (logits / temperature).log_softmax(1)).sum(1)
