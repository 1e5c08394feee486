"""What a classifier's logits mean, and the loss that goes with it: the one place that knows.

A softmax's classes exclude each other. A sigmoid's labels do not: each is a question of its own,
answered yes where its logit is positive.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch.nn import functional

from cake_edge.losses.classification import target_binary_cross_entropy, target_cross_entropy
from cake_edge.losses.distill import (
    binary_soft_cross_entropy,
    binary_temperature_kl,
    soft_cross_entropy,
    temperature_kl,
)
from cake_edge.spec import ImageSpec

__all__ = ["Head", "head_of"]

Tensor = torch.Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """Functions of logits [N, K], alike in form whatever the logits mean."""

    match: Callable[[Tensor, Tensor, float], Tensor]
    """(student, teacher, temperature) -> T^2 KL(teacher || student): mean over N, sum over K."""
    soft_cross_entropy: Callable[[Tensor, Tensor], Tensor]
    """(student, teacher) -> cross-entropy with the teacher's probabilities, likewise."""
    towards: Callable[[Tensor, Tensor], Tensor]
    """(logits, targets [N]) -> [N]: what falls as the target becomes more probable."""
    probabilities: Callable[[Tensor], Tensor]
    """logits -> [N, K]."""
    hits: Callable[[Tensor, Tensor], Tensor]
    """(logits, targets [N]) -> booleans [N]: whether the target is seen in the image."""


def head_of(spec: ImageSpec) -> Head:
    """Returns what goes with `spec.head`."""
    return HEADS[spec.head]


def _softmax(logits: Tensor) -> Tensor:
    return functional.softmax(logits, dim=1)


def _is_highest(logits: Tensor, targets: Tensor) -> Tensor:
    return logits.argmax(1) == targets


def _is_positive(logits: Tensor, targets: Tensor) -> Tensor:
    # A target of -1 stands for none; what is gathered in its place does not count.
    chosen = logits.gather(1, targets.clamp_min(0).unsqueeze(1)).squeeze(1)
    return (chosen > 0) & (targets >= 0)


HEADS: dict[str, Head] = {
    "softmax": Head(
        match=temperature_kl,
        soft_cross_entropy=soft_cross_entropy,
        towards=target_cross_entropy,
        probabilities=_softmax,
        hits=_is_highest,
    ),
    "sigmoid": Head(
        match=binary_temperature_kl,
        soft_cross_entropy=binary_soft_cross_entropy,
        towards=target_binary_cross_entropy,
        probabilities=torch.sigmoid,
        hits=_is_positive,
    ),
}
"""By the word in `ImageSpec.head`."""
