"""Normalisation: by stored statistics, or by those of the image itself."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.nn import functional

from cake_edge.onnx_network.node import Call, Operator
from cake_edge.onnx_network.refusals import UnsupportedOnnx

__all__ = ["OPERATORS", "layer_norm", "rms_norm"]


def _column(vector: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """Shapes [C] so that it acts on the channels of [N, C, ...]."""
    return vector.reshape(-1, *[1] * (x.dim() - 2))


def _batch_norm(call: Call) -> torch.Tensor:
    if call.get("training_mode", 0) or any(call.wants(i) for i in range(1, 5)):
        raise UnsupportedOnnx(
            "it was exported in training mode: export the network again after network.eval()"
        )
    x, scale, bias, mean, variance = (call.tensor(i) for i in range(5))
    # Not torch's batch_norm: for one image whose gradient arrives permuted, its gradient on a CPU
    # is wrong (torch 2.15), and it keeps the image for a gradient that does not need it.
    factor = scale * torch.rsqrt(variance + call.get("epsilon", 1e-5))
    return x * _column(factor, x) + _column(bias - mean * factor, x)


def _instance_norm(call: Call) -> torch.Tensor:
    x = call.tensor(0)
    axes = tuple(range(2, x.dim()))
    y = _standardised(x, axes, call.get("epsilon", 1e-5))
    return y * _column(call.tensor(1), x) + _column(call.tensor(2), x)


def _group_norm(call: Call) -> torch.Tensor:
    """Before opset 21 scale and bias were one number a group, since then one a channel."""
    x, scale, bias = (call.tensor(i) for i in range(3))
    groups = call.get("num_groups")
    if call.opset < 21:
        scale, bias = (v.repeat_interleave(x.shape[1] // groups) for v in (scale, bias))
    return functional.group_norm(x, groups, scale, bias, call.get("epsilon", 1e-5))


def _layer_norm(call: Call) -> torch.Tensor | Sequence[torch.Tensor]:
    x = call.tensor(0)
    axis, epsilon = call.get("axis", -1), call.get("epsilon", 1e-5)
    y = layer_norm(x, call.tensor(1), call.maybe(2), axis, epsilon)
    if not call.wants(1) and not call.wants(2):
        return y
    axes = tuple(range(axis % x.dim(), x.dim()))
    variance, mean = torch.var_mean(x, axes, correction=0, keepdim=True)
    return y, mean, torch.rsqrt(variance + epsilon)


def layer_norm(
    x: torch.Tensor, scale: torch.Tensor, bias: torch.Tensor | None, axis: int, epsilon: float
) -> torch.Tensor:
    """Standardises over the axes from `axis` on, then scales and shifts."""
    shape = x.shape[axis % x.dim() :]
    if scale.shape == shape and (bias is None or bias.shape == shape):
        return functional.layer_norm(x, shape, scale, bias, epsilon)
    y = functional.layer_norm(x, shape, eps=epsilon) * scale
    return y if bias is None else y + bias


def _rms_norm(call: Call) -> torch.Tensor:
    return rms_norm(call.tensor(0), call.tensor(1), call.get("axis", -1), call.get("epsilon", 1e-5))


def rms_norm(x: torch.Tensor, scale: torch.Tensor, axis: int, epsilon: float) -> torch.Tensor:
    """Divides by the root of the mean square over the axes from `axis` on, then scales."""
    axes = tuple(range(axis % x.dim(), x.dim()))
    return x * torch.rsqrt(x.square().mean(axes, keepdim=True) + epsilon) * scale


def _lp_norm(call: Call) -> torch.Tensor:
    x, axis = call.tensor(0), call.get("axis", -1)
    length = torch.linalg.vector_norm(x, call.get("p", 2), axis, keepdim=True)
    return torch.where(length == 0, torch.zeros_like(x), x / length)


def _local_response_norm(call: Call) -> torch.Tensor:
    """Krizhevsky et al. 2012, section 3.3: each channel by the squares of its neighbours."""
    x, size = call.tensor(0), call.get("size")
    squares = x.square().flatten(2).transpose(1, 2)
    squares = functional.pad(squares, ((size - 1) // 2, size // 2))
    around = functional.avg_pool1d(squares, size, 1).transpose(1, 2).reshape(x.shape)
    base = around.mul(call.get("alpha", 1e-4)).add(call.get("bias", 1.0))
    return x / base.pow(call.get("beta", 0.75))


def _standardised(x: torch.Tensor, axes: tuple[int, ...], epsilon: float) -> torch.Tensor:
    variance, mean = torch.var_mean(x, axes, correction=0, keepdim=True)
    return (x - mean) * torch.rsqrt(variance + epsilon)


OPERATORS: dict[str, Operator] = {
    "BatchNormalization": _batch_norm,
    "GroupNormalization": _group_norm,
    "InstanceNormalization": _instance_norm,
    "LRN": _local_response_norm,
    "LayerNormalization": _layer_norm,
    "LpNormalization": _lp_norm,
    "RMSNormalization": _rms_norm,
    # ONNX Runtime's optimizer wrote this one into ONNX's own domain.
    "SimplifiedLayerNormalization": _rms_norm,
}
