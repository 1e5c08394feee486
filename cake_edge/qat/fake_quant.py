"""Uniform fake quantizers: values are rounded to a grid and stay float.

A grid of b bits has the levels s (q - z) for whole q from `low` to `high`. Rounding passes the
gradient on where the value lies on the grid and stops it where the value is clipped
(straight-through, Bengio et al., arXiv 1308.3432). A step that asks for gradients learns: LSQ,
Esser et al., ICLR 2020, arXiv 1902.08153, section 2.
"""

from __future__ import annotations

import math
from typing import Any, cast

import torch
from torch import nn

from cake_edge.errors import UsageMistake

__all__ = ["ActivationQuantizer", "WeightQuantizer", "fake_quantize", "grid"]

SMALLEST_STEP = 1e-8


def grid(bits: int, *, signed: bool) -> tuple[int, int]:
    """Returns the lowest and highest whole number of a grid.

    Signed grids are symmetric, and so leave one level of 2^bits out.

    Raises:
        UsageMistake: bits is not in 2..8.
    """
    if not 2 <= bits <= 8:
        raise UsageMistake(f"{bits} bits are asked for; a fake quantizer takes 2 to 8")
    top = 2 ** (bits - 1) - 1
    return (-top, top) if signed else (0, 2**bits - 1)


def fake_quantize(
    values: torch.Tensor, step: torch.Tensor, zero_point: torch.Tensor, low: int, high: int
) -> torch.Tensor:
    """Returns `values` rounded to the grid, half to even, and clipped to it.

    Args:
        values: any shape; [O, ...] where `step` is [O].
        step: [] or [O], positive; it learns where it asks for gradients.
        zero_point: [] or [O] int32, the whole number that stands for zero.
        low: lowest whole number.
        high: highest whole number.
    """
    step = step.clamp_min(SMALLEST_STEP)
    if step.requires_grad and torch.is_grad_enabled():
        return cast(torch.Tensor, _LearnedStep.apply(values, step, zero_point, low, high))
    return _rounded(values, step, zero_point, low, high)


def _rounded(
    values: torch.Tensor, step: torch.Tensor, zero_point: torch.Tensor, low: int, high: int
) -> torch.Tensor:
    if step.ndim:
        return torch.fake_quantize_per_channel_affine(values, step, zero_point, 0, low, high)
    return torch.fake_quantize_per_tensor_affine(values, step, zero_point, low, high)


class _LearnedStep(torch.autograd.Function):
    """LSQ: d/ds of s (q - z) is q - z - v/s on the grid, low - z or high - z beyond it."""

    @staticmethod
    def forward(
        ctx: Any,
        values: torch.Tensor,
        step: torch.Tensor,
        zero_point: torch.Tensor,
        low: int,
        high: int,
    ) -> torch.Tensor:
        ctx.save_for_backward(values, step, zero_point)
        ctx.bounds = low, high
        return _rounded(values, step, zero_point, low, high)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        (gradient,) = gradients
        values, step, zero_point = ctx.saved_tensors
        low, high = ctx.bounds
        shape = (-1, *(1,) * (values.ndim - 1)) if step.ndim else ()
        scaled, zero = values / step.view(shape), zero_point.view(shape)
        whole = scaled.round()
        kept = torch.minimum(torch.maximum(whole, low - zero), high - zero)
        inside = kept == whole
        slope = kept - torch.where(inside, scaled, 0)
        weighted = gradient * slope
        # The factor of section 2.2, which makes steps move as fast as weights.
        factor = 1 / math.sqrt(values.numel() / max(1, step.numel()) * high)
        total = weighted.flatten(1).sum(1) if step.ndim else weighted.sum()
        return gradient * inside, total * factor, None, None, None


class WeightQuantizer(nn.Module):
    """Per output channel, symmetric; a parametrization of `weight`."""

    def __init__(self, channels: int, bits: int) -> None:
        super().__init__()
        self.bits, self.enabled = bits, True
        self.low, self.high = grid(bits, signed=True)
        self.step = nn.Parameter(torch.ones(channels), requires_grad=False)
        self.register_buffer("zero_point", torch.zeros(channels, dtype=torch.int32), False)

    zero_point: torch.Tensor

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        """Returns the weight [O, ...] on its grid."""
        if not self.enabled:
            return weight
        return fake_quantize(weight, self.step, self.zero_point, self.low, self.high)

    def whole(self, weight: torch.Tensor) -> torch.Tensor:
        """Returns the whole numbers of a weight [O, ...], int8."""
        step = self.step.detach().clamp_min(SMALLEST_STEP).view(-1, *(1,) * (weight.ndim - 1))
        on_grid: torch.Tensor = self(weight).detach()
        return (on_grid / step).round().to(torch.int8)


class ActivationQuantizer(nn.Module):
    """Per tensor, asymmetric; unsigned with zero point 0 where no value is below zero."""

    def __init__(self, bits: int) -> None:
        super().__init__()
        self.bits, self.enabled = bits, True
        self.low, self.high = grid(bits, signed=False)
        self.step = nn.Parameter(torch.ones(()), requires_grad=False)
        self.register_buffer("zero_point", torch.zeros((), dtype=torch.int32))

    zero_point: torch.Tensor

    @torch.no_grad()
    def set_range(self, lowest: float, highest: float) -> None:
        """Puts the grid over [lowest, highest], widened to hold zero exactly."""
        lowest, highest = min(lowest, 0.0), max(highest, 0.0)
        step = max((highest - lowest) / self.high, SMALLEST_STEP)
        self.step.fill_(step)
        self.zero_point.fill_(min(self.high, round(-lowest / step)))

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Returns the values, of any shape, on the grid."""
        if not self.enabled:
            return values
        return fake_quantize(values, self.step, self.zero_point, self.low, self.high)
