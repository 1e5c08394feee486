"""Float operators that ONNX Runtime's optimizer writes in place of several standard ones."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.nn import functional

from cake_edge.errors import TeacherError
from cake_edge.onnx_network.node import Call, Operator
from cake_edge.onnx_network.operators.convolution import conv
from cake_edge.onnx_network.operators.matrix import gemm
from cake_edge.onnx_network.operators.normalisation import layer_norm, rms_norm

__all__ = ["DOMAIN", "OPERATORS"]

DOMAIN = "com.microsoft"


def _activated(x: torch.Tensor, name: str, parameters: Sequence[float]) -> torch.Tensor:
    """Applies the activation that a fused operator names in an attribute."""
    if name == "":
        return x
    if name == "Relu":
        return torch.relu(x)
    if name == "Sigmoid":
        return torch.sigmoid(x)
    if name == "Tanh":
        return torch.tanh(x)
    if name == "LeakyRelu":
        return functional.leaky_relu(x, parameters[0] if parameters else 0.01)
    if name == "Clip":
        return x.clamp(*parameters[:2])
    if name == "HardSigmoid":
        return (x * parameters[0] + parameters[1]).clamp(0, 1)
    raise TeacherError(
        f"the fused activation {name!r} is not known; give the model as it was before ONNX "
        "Runtime optimized it"
    )


def _fused_conv(call: Call) -> torch.Tensor:
    y, also = conv(call), call.maybe(3)
    y = y if also is None else y + also
    return _activated(y, call.get("activation", ""), call.get("activation_params") or [])


def _fused_gemm(call: Call) -> torch.Tensor:
    given = (call.get("activation_alpha"), call.get("activation_beta"))
    parameters = [value for value in given if value is not None]
    return _activated(gemm(call), call.get("activation", ""), parameters)


def _fused_matmul(call: Call) -> torch.Tensor:
    a, b = call.tensor(0), call.tensor(1)
    if call.get("transBatchA", 0) or call.get("transBatchB", 0):
        raise TeacherError("products with the batch moved to the inside are not known")
    a = a.transpose(-1, -2) if call.get("transA", 0) else a
    b = b.transpose(-1, -2) if call.get("transB", 0) else b
    return torch.matmul(a, b).mul(call.get("alpha", 1.0))


def _gelu(call: Call) -> torch.Tensor:
    return functional.gelu(call.tensor(0))


def _bias_gelu(call: Call) -> torch.Tensor:
    return functional.gelu(call.tensor(0) + call.tensor(1))


def _fast_gelu(call: Call) -> torch.Tensor:
    x, bias = call.tensor(0), call.maybe(1)
    return functional.gelu(x if bias is None else x + bias, approximate="tanh")


def _quick_gelu(call: Call) -> torch.Tensor:
    x = call.tensor(0)
    return x * torch.sigmoid(x * call.get("alpha", 1.702))


def _skip_layer_norm(call: Call) -> Sequence[torch.Tensor]:
    """Adds, then standardises; the sum itself is the fourth output."""
    total, bias = call.tensor(0) + call.tensor(1), call.maybe(4)
    total = total if bias is None else total + bias
    y = layer_norm(total, call.tensor(2), call.maybe(3), -1, call.get("epsilon", 1e-12))
    return _with_sum(call, y, total)


def _skip_rms_norm(call: Call) -> Sequence[torch.Tensor]:
    total, bias = call.tensor(0) + call.tensor(1), call.maybe(3)
    total = total if bias is None else total + bias
    y = rms_norm(total, call.tensor(2), -1, call.get("epsilon", 1e-12))
    return _with_sum(call, y, total)


def _with_sum(call: Call, y: torch.Tensor, total: torch.Tensor) -> Sequence[torch.Tensor]:
    if call.wants(1) or call.wants(2):
        raise TeacherError("mean and deviation of a fused normalisation are asked for")
    return y, y, y, total


OPERATORS: dict[str, Operator] = {
    "BiasGelu": _bias_gelu,
    "FastGelu": _fast_gelu,
    "FusedConv": _fused_conv,
    "FusedGemm": _fused_gemm,
    "FusedMatMul": _fused_matmul,
    "Gelu": _gelu,
    "QuickGelu": _quick_gelu,
    "SkipLayerNormalization": _skip_layer_norm,
    "SkipSimplifiedLayerNormalization": _skip_rms_norm,
}
