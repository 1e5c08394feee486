"""A fake-quantized network in the form that torch's exporter turns into QuantizeLinear pairs.

Integers of 8 bits carry the few-bit ones, which every runtime with INT8 kernels reads: weights are
int8 numbers from a shorter range; an activation is clipped to the ends of its short grid and then
quantized by the same step, which gives the same number.

Biases are added after their layer and stay float. ONNX Runtime would round one that is part of a
layer to a whole number of (step of the weight) x (step of the input), which of 4-bit steps is
coarse enough to change answers.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn

from cake_edge.qat.convert import quantized_layers, weight_quantizer
from cake_edge.qat.fake_quant import SMALLEST_STEP, fake_quantize

__all__ = ["onnx_form"]

OPSET = 19
"""Of the two operators; a file of this opset or a later one may hold them."""


def onnx_form(network: nn.Module) -> nn.Module:
    """Returns a copy on the CPU that computes the same, and exports as integers.

    Args:
        network: fake-quantized and finished; it is left as it is.
    """
    twin = copy.deepcopy(network).cpu().eval().requires_grad_(False)
    for _, layer in list(quantized_layers(twin)):
        quantizer = weight_quantizer(layer)
        whole = quantizer.whole(layer.parametrizations["weight"].original)
        # In its place, because taking a parametrization off would change the class that a copy
        # shares with its original.
        layer.parametrizations["weight"][0] = _StoredWeight(whole, quantizer.step)
        layer.input_quantizer = _Activation(layer.input_quantizer)
        if layer.bias is not None:
            shape = (-1, 1, 1) if isinstance(layer, nn.Conv2d) else (-1,)
            layer.register_buffer("late_bias", layer.bias.detach().view(shape))
            layer.bias = None
            layer.register_forward_hook(_add_bias)
    return twin


def _add_bias(layer: Any, args: tuple[Any, ...], output: torch.Tensor) -> torch.Tensor:
    added: torch.Tensor = output + layer.late_bias
    return added


class _StoredWeight(nn.Module):
    """A weight that is kept as whole numbers and one step a channel."""

    whole: torch.Tensor
    step: torch.Tensor
    zero_point: torch.Tensor

    def __init__(self, whole: torch.Tensor, step: torch.Tensor) -> None:
        super().__init__()
        self.register_buffer("whole", whole)
        self.register_buffer("step", step.detach().clamp_min(SMALLEST_STEP).clone())
        self.register_buffer("zero_point", torch.zeros(len(whole), dtype=torch.int8))

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        if not torch.compiler.is_exporting():
            return self.whole * self.step.view(-1, *(1,) * (weight.ndim - 1))
        return torch.onnx.ops.symbolic(
            "DequantizeLinear",
            (self.whole, self.step, self.zero_point),
            attrs={"axis": 0},
            dtype=torch.float32,
            shape=self.whole.shape,
            version=OPSET,
        )


class _Activation(nn.Module):
    """A clip to the short grid, QuantizeLinear to uint8, DequantizeLinear."""

    step: torch.Tensor
    zero_point: torch.Tensor

    def __init__(self, quantizer: Any) -> None:
        super().__init__()
        self.low, self.high = quantizer.low, quantizer.high
        self.register_buffer("step", quantizer.step.detach().clamp_min(SMALLEST_STEP).clone())
        self.register_buffer("zero_point", quantizer.zero_point.to(torch.uint8))
        zero, step = int(quantizer.zero_point), float(self.step)
        self.ends = ((self.low - zero) * step, (self.high - zero) * step)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        if not torch.compiler.is_exporting():
            zero = self.zero_point.to(torch.int32)
            return fake_quantize(values, self.step, zero, self.low, self.high)
        # The 256 levels of uint8 are as many as 8 bits have: they clip by themselves.
        short = values if self.high == 255 else values.clamp(*self.ends)
        pair = (self.step, self.zero_point)
        whole = torch.onnx.ops.symbolic(
            "QuantizeLinear", (short, *pair), dtype=torch.uint8, shape=short.shape, version=OPSET
        )
        return torch.onnx.ops.symbolic(
            "DequantizeLinear", (whole, *pair), dtype=torch.float32, shape=short.shape,
            version=OPSET,
        )  # fmt: skip
