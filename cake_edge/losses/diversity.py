"""Keeping the classes of a batch even."""

from __future__ import annotations

import torch

__all__ = ["class_entropy_released"]


def class_entropy_released(logits: torch.Tensor) -> torch.Tensor:
    """Returns mean_k(p_k log10 p_k) of the batch's mean softmax p, a scalar.

    The released code's diversity term; its weight is zero in every released configuration.

    Args:
        logits: [B, K].
    """
    # p log p of a probability that is zero in float32 has no finite gradient.
    mean = logits.softmax(1).mean(0).clamp_min(torch.finfo(torch.float32).tiny)
    return torch.xlogy(mean, mean).mean() / torch.log(torch.tensor(10.0, device=logits.device))
