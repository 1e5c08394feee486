"""Operators that pick values by their place, and those that make tensors of numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from cake_edge.onnx_network.known import Known
from cake_edge.onnx_network.node import Call, Operator
from cake_edge.onnx_network.refusals import UnsupportedOnnx, check_elements

__all__ = ["OPERATORS"]

REDUCTIONS = {"add": "sum", "mul": "prod", "max": "amax", "min": "amin"}


def _positive(places: torch.Tensor, size: int) -> torch.Tensor:
    """Counts negative places from the end, as ONNX does and torch's index operators do not."""
    places = places.to(torch.int64)
    return torch.where(places < 0, places + size, places)


def _gather(call: Call) -> torch.Tensor:
    x, axis, places = call.tensor(0), call.get("axis", 0), call.value(1)
    axis %= x.dim()
    if isinstance(places, Known) and not places.rank:
        return x.select(axis, int(places.values[0]))
    index = _positive(call.tensor(1), x.shape[axis])
    shape = [*x.shape[:axis], *index.shape, *x.shape[axis + 1 :]]
    check_elements(shape)
    return x.index_select(axis, index.reshape(-1)).reshape(shape)


def _gather_elements(call: Call) -> torch.Tensor:
    x, axis = call.tensor(0), call.get("axis", 0)
    return x.gather(axis, _positive(call.tensor(1), x.shape[axis]))


def _gather_nd(call: Call) -> torch.Tensor:
    x, index = call.tensor(0), call.tensor(1).to(torch.int64)
    batch = call.get("batch_dims", 0)
    if not batch:
        return x[index.unbind(-1)]
    # The leading axes of both go together: make them one, and name its rows.
    lead = x.shape[:batch]
    flat, places = x.flatten(0, batch - 1), index.flatten(0, batch - 1)
    rows = torch.arange(flat.shape[0], device=x.device)
    rows = rows.reshape(-1, *[1] * (places.dim() - 2))
    where = (rows, *places.unbind(-1))
    found = flat[where]
    return found.reshape([*lead, *found.shape[1:]])


def _scatter_elements(call: Call) -> torch.Tensor:
    x, axis, updates = call.tensor(0), call.get("axis", 0), call.tensor(2)
    index = _positive(call.tensor(1), x.shape[axis])
    how = call.get("reduction", "none")
    if how == "none":
        return x.scatter(axis, index, updates)
    return x.scatter_reduce(axis, index, updates, REDUCTIONS[how])


def _scatter_nd(call: Call) -> torch.Tensor:
    x, index, updates = call.tensor(0), call.tensor(1).to(torch.int64), call.tensor(2)
    how = call.get("reduction", "none")
    if how not in ("none", "add"):
        raise UnsupportedOnnx(f"values are scattered with {how!r}; known: none, add")
    return x.index_put(tuple(index.unbind(-1)), updates, accumulate=how == "add")


def _one_hot(call: Call) -> torch.Tensor:
    index, depth = call.tensor(0).to(torch.int64), int((call.numbers(1) or [0])[0])
    off, on = call.tensor(2).unbind(0)
    check_elements([*index.shape, depth])
    axis = call.get("axis", -1) % (index.dim() + 1)
    classes = torch.arange(depth, device=index.device)
    classes = classes.reshape(-1, *[1] * (index.dim() - axis))
    return torch.where(_positive(index, depth).unsqueeze(axis) == classes, on, off)


def _trilu(call: Call) -> torch.Tensor:
    x, k = call.tensor(0), (call.numbers(1) or [0])[0]
    return x.triu(k) if call.get("upper", 1) else x.tril(k)


def _top_k(call: Call) -> Sequence[torch.Tensor]:
    x, axis = call.tensor(0), call.get("axis", -1)
    count = (call.numbers(1) or [0])[0] if call.opset >= 10 else call.get("k")
    # Equal values come in the order of their places, which torch.topk does not promise.
    largest = bool(call.get("largest", 1))
    values, places = torch.sort(x, stable=True, dim=axis, descending=largest)
    return values.narrow(axis, 0, count), places.narrow(axis, 0, count)


def _cum_sum(call: Call) -> torch.Tensor:
    x, axis = call.tensor(0), (call.numbers(1) or [0])[0]
    x = x.flip(axis) if call.get("reverse", 0) else x
    sums = x.cumsum(axis).to(x.dtype)
    sums = sums - x if call.get("exclusive", 0) else sums
    return sums.flip(axis) if call.get("reverse", 0) else sums


def _constant_of_shape(call: Call) -> torch.Tensor:
    shape = call.numbers(0) or []
    check_elements(shape)
    value = call.get("value")
    if value is None:
        return torch.zeros(shape, dtype=call.like.dtype, device=call.like.device)
    dtype = call.like.dtype if value.is_floating_point() else value.dtype
    return torch.full(shape, value.item(), dtype=dtype, device=call.like.device)


def _range(call: Call) -> torch.Tensor:
    start, limit, step = ((call.numbers(i) or [0])[0] for i in range(3))
    dtype = call.like.dtype if isinstance(start, float) else torch.int64
    if isinstance(limit, (int, float)):
        count = max(math.ceil((limit - start) / step), 0)
        check_elements([count])
        return torch.arange(count, dtype=dtype, device=call.like.device).mul(step).add(start)
    # To count up to a symbol here would pin it.
    return torch.arange(start, limit, step, dtype=dtype, device=call.like.device)


OPERATORS: dict[str, Operator] = {
    "ConstantOfShape": _constant_of_shape,
    "CumSum": _cum_sum,
    "Gather": _gather,
    "GatherElements": _gather_elements,
    "GatherND": _gather_nd,
    "OneHot": _one_hot,
    "Range": _range,
    "ScatterElements": _scatter_elements,
    "ScatterND": _scatter_nd,
    "TopK": _top_k,
    "Trilu": _trilu,
}
