"""Matching a student's answers to a teacher's."""

from __future__ import annotations

import torch
from torch.nn import functional

__all__ = ["soft_cross_entropy", "temperature_kl"]


def temperature_kl(
    student: torch.Tensor, teacher: torch.Tensor, temperature: float
) -> torch.Tensor:
    """Returns T^2 KL(teacher || student) at temperature T: mean over the batch, sum over classes.

    Hinton, Vinyals, Dean, arXiv 1503.02531, section 2; T^2 keeps gradients alike as T changes.

    Args:
        student: logits [N, K].
        teacher: logits [N, K].
        temperature: positive; 1 compares the answers as they are.
    """
    wanted = functional.log_softmax(teacher / temperature, dim=1)
    given = functional.log_softmax(student / temperature, dim=1)
    divergence = functional.kl_div(given, wanted, reduction="batchmean", log_target=True)
    return divergence * temperature**2


def soft_cross_entropy(student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    """Returns the cross-entropy of the student with the teacher's probabilities, mean over N.

    What the authors' released student minimises (temperature 1, no hard labels).

    Args:
        student: logits [N, K].
        teacher: logits [N, K].
    """
    return functional.cross_entropy(student, teacher.softmax(1))
