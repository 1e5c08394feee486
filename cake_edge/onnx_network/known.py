"""Numbers that Python holds: what the shape arithmetic of a graph is made of.

Exported graphs compute shapes with operators (Shape, Gather, Concat, Reshape). As tensors those
numbers would lose the symbols that `torch.export` puts in place of a dynamic batch, and would be
copied to and fro between devices; as Python numbers they keep both away.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from cake_edge.errors import TeacherError

__all__ = ["MOST_KNOWN", "Known", "known_form"]

MOST_KNOWN = 64
"""Longest list held by Python: many times the rank of any tensor. A longer one is a tensor."""
FURTHEST = 2**63


@dataclass(frozen=True, slots=True)
class Known:
    """A scalar or a vector of numbers; integers may be symbols of `torch.export`.

    Floats are float32 numbers, kept as Python floats.
    """

    values: tuple[int | float, ...]
    """In order; one value of a scalar."""
    rank: int
    """0 a scalar, 1 a vector."""
    dtype: torch.dtype
    """What it is as a tensor; float32 stands for whatever float type the network computes in."""

    def __post_init__(self) -> None:
        for value in self.values:
            if type(value) is int and not -FURTHEST <= value < FURTHEST:
                raise TeacherError("a whole number leaves the range of 64 bits")
        if self.dtype.is_floating_point:
            object.__setattr__(self, "values", tuple(map(_single, self.values)))

    @classmethod
    def vector(cls, values: Sequence[int]) -> Known:
        """Sizes, axes, positions."""
        return cls(tuple(values), 1, torch.int64)

    def tensor(self, like: torch.Tensor) -> torch.Tensor:
        """Returns it as a tensor on the device of `like`, floats in the type of `like`."""
        dtype = like.dtype if self.dtype.is_floating_point else self.dtype
        if any(isinstance(value, (torch.SymInt, torch.SymFloat)) for value in self.values):
            parts = [
                torch.scalar_tensor(value, dtype=dtype, device=like.device) for value in self.values
            ]
            return torch.stack(parts) if self.rank else parts[0]
        return torch.tensor(
            self.values if self.rank else self.values[0], dtype=dtype, device=like.device
        )


def known_form(tensor: torch.Tensor) -> Known | None:
    """Returns a small constant as Python numbers, or None of a large one."""
    if tensor.dim() > 1 or tensor.numel() > MOST_KNOWN:
        return None
    values = tensor.reshape(-1).tolist()
    return Known(tuple(values), tensor.dim(), tensor.dtype)


def _single(value: float) -> float:
    """Rounds to float32, so that `floor(size * scale)` falls on the side that a runtime's does."""
    if not isinstance(value, (int, float)):
        return value
    try:
        rounded: float = struct.unpack("f", struct.pack("f", value))[0]
    except OverflowError:
        return float("inf") if value > 0 else float("-inf")
    return rounded
