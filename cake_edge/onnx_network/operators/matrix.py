"""Products of matrices, and attention."""

from __future__ import annotations

import math

import torch
from torch.nn import functional

from cake_edge.onnx_network.node import Call, Operator
from cake_edge.onnx_network.refusals import UnsupportedOnnx

__all__ = ["OPERATORS", "gemm"]


def _matmul(call: Call) -> torch.Tensor:
    return torch.matmul(call.tensor(0), call.tensor(1))


def _einsum(call: Call) -> torch.Tensor:
    return torch.einsum(call.get("equation"), *call.tensors())


def gemm(call: Call) -> torch.Tensor:
    """Returns alpha A B + beta C of matrices, each of A and B transposed on request."""
    a, b, c = call.tensor(0), call.tensor(1), call.maybe(2)
    alpha, beta = call.get("alpha", 1.0), call.get("beta", 1.0)
    if call.get("transA", 0):
        a = a.t()
    plain = alpha == 1 and beta == 1
    if plain and call.get("transB", 0) and (c is None or c.dim() == 1):
        return functional.linear(a, b, c)
    product = a @ (b.t() if call.get("transB", 0) else b)
    product = product if alpha == 1 else product * alpha
    if c is None:
        return product
    return product + (c if beta == 1 else c * beta)


def _attention(call: Call) -> torch.Tensor:
    """Attention of opset 23, without a cache of earlier keys.

    Queries, keys and values are [N, heads, length, width], or [N, length, heads * width] with
    the number of heads as an attribute. Fewer heads of keys than of queries are repeated.
    """
    if any(call.value(i) is not None for i in range(4, 7)) or any(call.wants(i) for i in (1, 2, 3)):
        raise UnsupportedOnnx("a cache of keys, or the scores of attention, are asked for")
    if max(call.get("left_window_size", -1), call.get("right_window_size", -1)) >= 0:
        raise UnsupportedOnnx("attention is limited to a window")
    packed = call.tensor(0).dim() == 3
    q = _heads(call.tensor(0), call.get("q_num_heads", 1))
    k, v = (_heads(call.tensor(i), call.get("kv_num_heads", 1)) for i in (1, 2))
    if k.shape[1] != q.shape[1]:
        k, v = (t.repeat_interleave(q.shape[1] // t.shape[1], 1) for t in (k, v))
    scores = q @ k.transpose(-1, -2) * call.get("scale", 1 / math.sqrt(q.shape[-1]))
    cap = call.get("softcap", 0.0)
    if cap:
        scores = torch.tanh(scores / cap) * cap
    y = torch.softmax(_masked(scores, call), -1) @ v
    return y.transpose(1, 2).flatten(2) if packed else y


def _heads(x: torch.Tensor, count: int) -> torch.Tensor:
    return x if x.dim() == 4 else x.unflatten(-1, (count, -1)).transpose(1, 2)


def _masked(scores: torch.Tensor, call: Call) -> torch.Tensor:
    if call.get("is_causal", 0):
        seen = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).tril()
        scores = scores.masked_fill(~seen, -math.inf)
    mask = call.maybe(3)
    if mask is None:
        return scores
    missing = scores.shape[-1] - mask.shape[-1]
    if mask.dtype == torch.bool:
        return scores.masked_fill(~functional.pad(mask, (0, missing)), -math.inf)
    return scores + functional.pad(mask, (0, missing), value=-math.inf)


OPERATORS: dict[str, Operator] = {
    "Attention": _attention,
    "Einsum": _einsum,
    "Gemm": gemm,
    "MatMul": _matmul,
}
