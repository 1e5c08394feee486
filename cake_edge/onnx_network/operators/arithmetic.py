"""Operators on numbers that Python holds: the shape arithmetic of a graph.

A function here gives None where the result is not a short list; the operator for tensors then
does it.
"""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from cake_edge.onnx_network.element_types import cast_to
from cake_edge.onnx_network.known import MOST_KNOWN, Known
from cake_edge.onnx_network.node import Call
from cake_edge.onnx_network.operators.shape import sections, slices

__all__ = ["ARITHMETIC"]

Arithmetic = Callable[[Call], Known | Sequence[Known] | None]


def _known(call: Call, index: int) -> Known:
    form = call.forms[index]
    assert form is not None
    return form


def _each(function: Callable[[Any], Any], call: Call) -> Known:
    x = _known(call, 0)
    return Known(tuple(map(function, x.values)), x.rank, x.dtype)


def _pairs(
    function: Callable[..., Any], call: Call, dtype: torch.dtype | None = None
) -> Known | None:
    """Applies a function value by value; a single value goes with all of another's."""
    given = [_known(call, i) for i in range(len(call.inputs))]
    length = max(len(x.values) for x in given)
    if any(len(x.values) not in (1, length) for x in given):
        return None
    rows = [x.values * length if len(x.values) == 1 else x.values for x in given]
    values = tuple(function(*row) for row in zip(*rows, strict=True))
    return Known(values, max(x.rank for x in given), dtype or given[-1].dtype)


def _divide(a: Any, b: Any) -> Any:
    if isinstance(a, float) or isinstance(b, float):
        return a / b if b else math.copysign(math.inf, a)
    if isinstance(a, int) and isinstance(b, int) and (a < 0) != (b < 0):
        return -(abs(a) // abs(b))
    return a // b


def _smallest(*values: Any) -> Any:
    return functools.reduce(lambda a, b: b if b < a else a, values)


def _largest(*values: Any) -> Any:
    return functools.reduce(lambda a, b: b if b > a else a, values)


def _remainder(call: Call) -> Known | None:
    return None if call.get("fmod", 0) else _pairs(operator.mod, call)


def _choose(call: Call) -> Known | None:
    return _pairs(lambda condition, a, b: a if condition else b, call)


def _cast(call: Call) -> Known:
    x = _known(call, 0)
    dtype = cast_to(torch.empty(0), call.get("to"), torch.empty(0)).dtype
    convert: Callable[[Any], Any] = _whole
    if dtype.is_floating_point:
        convert = torch.sym_float
    elif dtype == torch.bool:
        convert = bool
    return Known(tuple(map(convert, x.values)), x.rank, dtype)


def _whole(value: Any) -> Any:
    return value if isinstance(value, (int, torch.SymInt)) else math.trunc(value)


def _gather(call: Call) -> Known | None:
    x, places = _known(call, 0), _known(call, 1)
    if not x.rank:
        return None
    return Known(tuple(x.values[int(i)] for i in places.values), places.rank, x.dtype)


def _slice(call: Call) -> Known | None:
    x = _known(call, 0)
    if not x.rank:
        return None
    values = x.values
    for _, start, end, step in slices(call, 1):
        # Counted backwards, an end before the first value is no end in Python but the last value.
        behind = None if step < 0 and end < -len(values) else end
        values = values[start:behind:step]
    return Known(values, 1, x.dtype)


def _concat(call: Call) -> Known | None:
    given = [_known(call, i) for i in range(len(call.inputs))]
    values = tuple(value for x in given for value in x.values)
    if len(values) > MOST_KNOWN or not all(x.rank for x in given):
        return None
    return Known(values, 1, given[0].dtype)


def _split(call: Call) -> Sequence[Known] | None:
    x, parts, place = _known(call, 0), [], 0
    if not x.rank:
        return None
    for size in sections(call, len(x.values)):
        parts.append(Known(x.values[place : place + size], 1, x.dtype))
        place += size
    return parts


def _unsqueeze(call: Call) -> Known | None:
    x, axes = _known(call, 0), call.either("axes", 1, 13) or []
    return Known(x.values, 1, x.dtype) if not x.rank and len(axes) == 1 else None


def _squeeze(call: Call) -> Known | None:
    x = _known(call, 0)
    return Known(x.values, 0, x.dtype) if len(x.values) == 1 else None


def _reshape(call: Call) -> Known | None:
    x, shape = _known(call, 0), call.numbers(1) or []
    if len(shape) > 1 or (shape and shape[0] not in (-1, len(x.values))):
        return None
    return Known(x.values, len(shape), x.dtype)


def _prod(call: Call) -> Known | None:
    return _to_one(call, math.prod)


def _sum(call: Call) -> Known | None:
    return _to_one(call, sum)


def _to_one(call: Call, function: Callable[[Any], Any]) -> Known:
    x = _known(call, 0)
    kept = x.rank if call.get("keepdims", 1) else 0
    return Known((function(x.values),), kept, x.dtype)


def _range(call: Call) -> Known | None:
    start, limit, step = (_known(call, i).values[0] for i in range(3))
    if not all(type(value) is int for value in (start, limit, step)) or not step:
        return None
    values = range(int(start), int(limit), int(step))
    return Known.vector(values) if len(values) <= MOST_KNOWN else None


def _constant_of_shape(call: Call) -> Known | None:
    shape, value = _known(call, 0).values, call.get("value")
    if len(shape) != 1 or value is None or value.is_floating_point():
        return None
    count = shape[0]
    if not isinstance(count, int) or not 0 <= count <= MOST_KNOWN:
        return None
    return Known((value.item(),) * count, 1, value.dtype)


def _shape(call: Call) -> Known:
    x = _known(call, 0)
    return Known.vector([len(x.values)] if x.rank else [])


def _identity(call: Call) -> Known:
    return _known(call, 0)


def _float(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Of a float, or of the float that stands for a symbol."""
    return lambda value: torch.sym_float(function(value))


BOOL = torch.bool
ARITHMETIC: Mapping[str, Arithmetic] = {
    "Abs": functools.partial(_each, abs),
    "Add": functools.partial(_pairs, operator.add),
    "And": functools.partial(_pairs, lambda a, b: a and b),
    "Cast": _cast,
    "Ceil": functools.partial(_each, _float(math.ceil)),
    "Concat": _concat,
    "ConstantOfShape": _constant_of_shape,
    "Div": functools.partial(_pairs, _divide),
    "Equal": functools.partial(_pairs, operator.eq, dtype=BOOL),
    "Floor": functools.partial(_each, _float(math.floor)),
    "Gather": _gather,
    "Greater": functools.partial(_pairs, operator.gt, dtype=BOOL),
    "GreaterOrEqual": functools.partial(_pairs, operator.ge, dtype=BOOL),
    "Identity": _identity,
    "Less": functools.partial(_pairs, operator.lt, dtype=BOOL),
    "LessOrEqual": functools.partial(_pairs, operator.le, dtype=BOOL),
    "Max": functools.partial(_pairs, _largest),
    "Min": functools.partial(_pairs, _smallest),
    "Mod": _remainder,
    "Mul": functools.partial(_pairs, operator.mul),
    "Neg": functools.partial(_each, operator.neg),
    "Not": functools.partial(_each, operator.not_),
    "Or": functools.partial(_pairs, lambda a, b: a or b),
    "Range": _range,
    "ReduceProd": _prod,
    "ReduceSum": _sum,
    "Reshape": _reshape,
    "Shape": _shape,
    "Slice": _slice,
    "Split": _split,
    "Sqrt": functools.partial(_each, lambda value: value**0.5),
    "Squeeze": _squeeze,
    "Sub": functools.partial(_pairs, operator.sub),
    "Unsqueeze": _unsqueeze,
    "Where": _choose,
}
"""Name in ONNX's own domain -> function, for nodes whose inputs are all held by Python."""
