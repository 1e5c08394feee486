"""Activations: one input, the same shape out."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch.nn import functional

from cake_edge.onnx_network.node import Call, Operator

__all__ = ["OPERATORS"]

SELU_ALPHA = 1.67326319217681884765625
SELU_GAMMA = 1.05070102214813232421875


def _celu(call: Call) -> torch.Tensor:
    return functional.celu(call.tensor(0), call.get("alpha", 1.0))


def _elu(call: Call) -> torch.Tensor:
    return functional.elu(call.tensor(0), call.get("alpha", 1.0))


def _gelu(call: Call) -> torch.Tensor:
    return functional.gelu(call.tensor(0), approximate=call.get("approximate", "none"))


def _hard_sigmoid(call: Call) -> torch.Tensor:
    x = call.tensor(0).mul(call.get("alpha", 0.2)).add(call.get("beta", 0.5))
    return x.clamp(0, 1)


def _hard_swish(call: Call) -> torch.Tensor:
    return functional.hardswish(call.tensor(0))


def _leaky_relu(call: Call) -> torch.Tensor:
    return functional.leaky_relu(call.tensor(0), call.get("alpha", 0.01))


def _mish(call: Call) -> torch.Tensor:
    return functional.mish(call.tensor(0))


def _prelu(call: Call) -> torch.Tensor:
    x, slope = call.tensor(0), call.tensor(1)
    return torch.where(x < 0, x * slope, x)


def _relu(call: Call) -> torch.Tensor:
    return torch.relu(call.tensor(0))


def _selu(call: Call) -> torch.Tensor:
    inner = functional.elu(call.tensor(0), call.get("alpha", SELU_ALPHA))
    return inner * float(call.get("gamma", SELU_GAMMA))


def _shrink(call: Call) -> torch.Tensor:
    x, bias, edge = call.tensor(0), call.get("bias", 0.0), call.get("lambd", 0.5)
    outer = torch.where(x > edge, x - bias, torch.zeros_like(x))
    return torch.where(x < -edge, x + bias, outer).to(x.dtype)


def _sigmoid(call: Call) -> torch.Tensor:
    return torch.sigmoid(call.tensor(0))


def _softplus(call: Call) -> torch.Tensor:
    return functional.softplus(call.tensor(0))


def _softsign(call: Call) -> torch.Tensor:
    return functional.softsign(call.tensor(0))


def _tanh(call: Call) -> torch.Tensor:
    return torch.tanh(call.tensor(0))


def _thresholded_relu(call: Call) -> torch.Tensor:
    x = call.tensor(0)
    return torch.where(x > call.get("alpha", 1.0), x, torch.zeros_like(x))


def _softmax(call: Call) -> torch.Tensor:
    return _over_classes(call, torch.softmax)


def _log_softmax(call: Call) -> torch.Tensor:
    return _over_classes(call, torch.log_softmax)


def _hardmax(call: Call) -> torch.Tensor:
    return _over_classes(call, _one_hot_of_largest)


def _one_hot_of_largest(x: torch.Tensor, axis: int) -> torch.Tensor:
    return torch.zeros_like(x).scatter(axis, x.argmax(axis, keepdim=True), 1)


def _over_classes(
    call: Call, function: Callable[[torch.Tensor, int], torch.Tensor]
) -> torch.Tensor:
    """Before opset 13 everything from `axis` on counted as one axis, by default from the second."""
    x = call.tensor(0)
    if call.opset >= 13:
        return function(x, call.get("axis", -1))
    axis = call.get("axis", 1) % max(x.dim(), 1)
    return function(x.flatten(axis), axis).reshape(x.shape)


OPERATORS: dict[str, Operator] = {
    "Celu": _celu,
    "Elu": _elu,
    "Gelu": _gelu,
    "HardSigmoid": _hard_sigmoid,
    "HardSwish": _hard_swish,
    "Hardmax": _hardmax,
    "LeakyRelu": _leaky_relu,
    "LogSoftmax": _log_softmax,
    "Mish": _mish,
    "PRelu": _prelu,
    "Relu": _relu,
    "Selu": _selu,
    "Shrink": _shrink,
    "Sigmoid": _sigmoid,
    "Softmax": _softmax,
    "Softplus": _softplus,
    "Softsign": _softsign,
    "Tanh": _tanh,
    "ThresholdedRelu": _thresholded_relu,
}
