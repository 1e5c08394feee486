"""Looking for images that teacher and student see differently.

The competition term of Adaptive DeepInversion (Yin et al., arXiv 1912.08795, eq. 8 and 9):
1 - JS(teacher, student), JS = (KL(p || m) + KL(q || m)) / 2 with m = (p + q) / 2.
"""

from __future__ import annotations

import math

import torch

__all__ = ["agreement"]


def agreement(teacher: torch.Tensor, student: torch.Tensor, *, exclusive: bool) -> torch.Tensor:
    """Returns 1 - JS of every image, [N], in nats: 1 where both agree, 1 - log 2 at the least.

    Args:
        teacher: logits [N, K].
        student: logits [N, K].
        exclusive: whether the classes exclude each other. Where they do not, the mean over labels
            of the same for each label's yes or no.
    """
    if exclusive:
        p, q = teacher.log_softmax(1), student.log_softmax(1)
        return 1 - _divergence(p, q)
    p, q = (
        torch.stack([-torch.nn.functional.softplus(-z), -torch.nn.functional.softplus(z)], dim=1)
        for z in (teacher, student)
    )
    return 1 - _divergence(p, q).mean(1)


def _divergence(p: torch.Tensor, q: torch.Tensor) -> torch.Tensor:
    """JS of logarithms of probabilities along axis 1."""
    middle = torch.logaddexp(p, q) - math.log(2)
    return ((p.exp() * (p - middle)).sum(1) + (q.exp() * (q - middle)).sum(1)) / 2
