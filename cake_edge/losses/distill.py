"""Matching a student's answers to a teacher's."""

from __future__ import annotations

import torch
from torch.nn import functional

__all__ = [
    "binary_soft_cross_entropy",
    "binary_temperature_kl",
    "soft_cross_entropy",
    "temperature_kl",
]


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


def binary_temperature_kl(
    student: torch.Tensor, teacher: torch.Tensor, temperature: float
) -> torch.Tensor:
    """Returns T^2 times the KL of every label's yes or no: mean over the batch, sum over labels.

    sum_k p_k log(p_k / q_k) + (1 - p_k) log((1 - p_k) / (1 - q_k)) with p = sigmoid(teacher / T)
    and q = sigmoid(student / T): `temperature_kl` of the two-way softmax (0, z) of each label
    (multi-label logits distillation: Yang et al., arXiv 2308.06453).

    Args:
        student: logits [N, K].
        teacher: logits [N, K].
        temperature: positive; 1 compares the answers as they are.
    """
    wanted, given = teacher / temperature, student / temperature
    yes = functional.logsigmoid(wanted) - functional.logsigmoid(given)
    no = functional.logsigmoid(-wanted) - functional.logsigmoid(-given)
    divergence = (wanted.sigmoid() * yes + (-wanted).sigmoid() * no).sum(1).mean()
    return divergence * temperature**2


def binary_soft_cross_entropy(student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    """Returns the binary cross-entropy with the teacher's probabilities, per label.

    Mean over N, sum over K.

    Args:
        student: logits [N, K].
        teacher: logits [N, K].
    """
    total = functional.binary_cross_entropy_with_logits(student, teacher.sigmoid(), reduction="sum")
    return total / len(student)
