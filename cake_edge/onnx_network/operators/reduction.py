"""Reductions over axes, and the places of extremes."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch

from cake_edge.onnx_network.node import Call, Operator

__all__ = ["OPERATORS"]

Reduction = Callable[[torch.Tensor, list[int], bool], torch.Tensor]
NEWER = 18
"""Opset since which the axes are an input; of ReduceSum earlier."""


def _reduce(function: Reduction, call: Call, since: int = NEWER) -> torch.Tensor:
    x, axes = call.tensor(0), call.either("axes", 1, since)
    if not axes:
        if call.get("noop_with_empty_axes", 0):
            return function(x, [], False)
        axes = list(range(x.dim()))
    return function(x, [axis % max(x.dim(), 1) for axis in axes], bool(call.get("keepdims", 1)))


def _sum(x: torch.Tensor, axes: list[int], keep: bool) -> torch.Tensor:
    return x.sum(axes, keepdim=keep).to(x.dtype) if axes and x.dim() else x


def _mean(x: torch.Tensor, axes: list[int], keep: bool) -> torch.Tensor:
    if not axes or not x.dim():
        return x
    return x.mean(axes, keepdim=keep) if x.is_floating_point() else _integer_mean(x, axes, keep)


def _integer_mean(x: torch.Tensor, axes: list[int], keep: bool) -> torch.Tensor:
    count = x[tuple(slice(None) if i in axes else 0 for i in range(x.dim()))].numel()
    return torch.div(x.sum(axes, keepdim=keep), count, rounding_mode="trunc").to(x.dtype)


def _max(x: torch.Tensor, axes: list[int], keep: bool) -> torch.Tensor:
    return x.amax(axes, keepdim=keep) if axes and x.dim() else x


def _min(x: torch.Tensor, axes: list[int], keep: bool) -> torch.Tensor:
    return x.amin(axes, keepdim=keep) if axes and x.dim() else x


def _prod(x: torch.Tensor, axes: list[int], keep: bool) -> torch.Tensor:
    if not x.dim():
        return x
    dtype = x.dtype
    for axis in sorted(axes, reverse=True):
        x = x.prod(axis, keepdim=keep)
    return x.to(dtype)


def _l1(x: torch.Tensor, axes: list[int], keep: bool) -> torch.Tensor:
    return _sum(x.abs(), axes, keep)


def _l2(x: torch.Tensor, axes: list[int], keep: bool) -> torch.Tensor:
    if not axes or not x.dim():
        return x.abs()
    if not x.is_floating_point():
        return _sum(x.square(), axes, keep).sqrt().to(x.dtype)
    length: torch.Tensor = torch.linalg.vector_norm(x, 2.0, axes, keepdim=keep)
    return length


def _log_sum(x: torch.Tensor, axes: list[int], keep: bool) -> torch.Tensor:
    return _sum(x, axes, keep).log()


def _log_sum_exp(x: torch.Tensor, axes: list[int], keep: bool) -> torch.Tensor:
    return torch.logsumexp(x, axes, keepdim=keep) if axes and x.dim() else x


def _sum_square(x: torch.Tensor, axes: list[int], keep: bool) -> torch.Tensor:
    return _sum(x.square(), axes, keep)


def _place(call: Call, function: Callable[..., torch.Tensor]) -> torch.Tensor:
    x, axis, keep = call.tensor(0), call.get("axis", 0), bool(call.get("keepdims", 1))
    if not call.get("select_last_index", 0):
        return function(x, axis, keepdim=keep)
    places = function(x.flip(axis), axis, keepdim=keep)
    return places.neg().add(x.shape[axis] - 1)


def _arg_max(call: Call) -> torch.Tensor:
    return _place(call, torch.argmax)


def _arg_min(call: Call) -> torch.Tensor:
    return _place(call, torch.argmin)


OPERATORS: dict[str, Operator] = {
    "ArgMax": _arg_max,
    "ArgMin": _arg_min,
    "ReduceL1": partial(_reduce, _l1),
    "ReduceL2": partial(_reduce, _l2),
    "ReduceLogSum": partial(_reduce, _log_sum),
    "ReduceLogSumExp": partial(_reduce, _log_sum_exp),
    "ReduceMax": partial(_reduce, _max),
    "ReduceMean": partial(_reduce, _mean),
    "ReduceMin": partial(_reduce, _min),
    "ReduceProd": partial(_reduce, _prod),
    "ReduceSum": partial(_reduce, _sum, since=13),
    "ReduceSumSquare": partial(_reduce, _sum_square),
}
