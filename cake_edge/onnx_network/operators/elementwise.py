"""Arithmetic, comparison and logic, value by value, with numpy's broadcasting."""

from __future__ import annotations

import functools
from collections.abc import Callable

import torch

from cake_edge.onnx_network.element_types import cast_to
from cake_edge.onnx_network.node import Call, Operator

__all__ = ["OPERATORS"]

Unary = Callable[[torch.Tensor], torch.Tensor]
Binary = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def _unary(function: Unary) -> Operator:
    return lambda call: function(call.tensor(0))


def _binary(function: Binary) -> Operator:
    return lambda call: function(call.tensor(0), call.tensor(1))


def _fold(function: Binary) -> Operator:
    return lambda call: functools.reduce(function, call.tensors())


def _mean(call: Call) -> torch.Tensor:
    return functools.reduce(torch.add, call.tensors()) / len(call.inputs)


def _div(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    if a.is_floating_point():
        return a / b
    return torch.div(a, b, rounding_mode="trunc")


def _pow(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    if not a.is_floating_point() and b.is_floating_point():
        return torch.pow(a.to(b.dtype), b).to(a.dtype)
    return torch.pow(a, b).to(a.dtype)


def _mod(call: Call) -> torch.Tensor:
    function = torch.fmod if call.get("fmod", 0) else torch.remainder
    return function(call.tensor(0), call.tensor(1))


def _clip(call: Call) -> torch.Tensor:
    x = call.tensor(0)
    if call.opset < 11:
        return x.clamp(call.get("min"), call.get("max")) if call.node.attributes else x
    low, high = call.maybe(1), call.maybe(2)
    if low is None and high is None:
        return x
    return torch.clamp(x, low, high)


def _is_inf(call: Call) -> torch.Tensor:
    x = call.tensor(0)
    above = torch.isposinf(x) & bool(call.get("detect_positive", 1))
    return above | (torch.isneginf(x) & bool(call.get("detect_negative", 1)))


def _where(call: Call) -> torch.Tensor:
    return torch.where(call.tensor(0), call.tensor(1), call.tensor(2))


def _cast(call: Call) -> torch.Tensor:
    return cast_to(call.tensor(0), call.get("to"), call.like)


def _cast_like(call: Call) -> torch.Tensor:
    return call.tensor(0).to(call.tensor(1).dtype)


OPERATORS: dict[str, Operator] = {
    "Abs": _unary(torch.abs),
    "Acos": _unary(torch.acos),
    "Acosh": _unary(torch.acosh),
    "Add": _binary(torch.add),
    "And": _binary(torch.logical_and),
    "Asin": _unary(torch.asin),
    "Asinh": _unary(torch.asinh),
    "Atan": _unary(torch.atan),
    "Atanh": _unary(torch.atanh),
    "Cast": _cast,
    "CastLike": _cast_like,
    "Ceil": _unary(torch.ceil),
    "Clip": _clip,
    "Cos": _unary(torch.cos),
    "Cosh": _unary(torch.cosh),
    "Div": _binary(_div),
    "Equal": _binary(torch.eq),
    "Erf": _unary(torch.erf),
    "Exp": _unary(torch.exp),
    "Floor": _unary(torch.floor),
    "Greater": _binary(torch.gt),
    "GreaterOrEqual": _binary(torch.ge),
    "IsInf": _is_inf,
    "IsNaN": _unary(torch.isnan),
    "Less": _binary(torch.lt),
    "LessOrEqual": _binary(torch.le),
    "Log": _unary(torch.log),
    "Max": _fold(torch.maximum),
    "Mean": _mean,
    "Min": _fold(torch.minimum),
    "Mod": _mod,
    "Mul": _binary(torch.mul),
    "Neg": _unary(torch.neg),
    "Not": _unary(torch.logical_not),
    "Or": _binary(torch.logical_or),
    "Pow": _binary(_pow),
    "Reciprocal": _unary(torch.reciprocal),
    "Round": _unary(torch.round),
    "Sign": _unary(torch.sign),
    "Sin": _unary(torch.sin),
    "Sinh": _unary(torch.sinh),
    "Sqrt": _unary(torch.sqrt),
    "Sub": _binary(torch.sub),
    "Sum": _fold(torch.add),
    "Tan": _unary(torch.tan),
    "Where": _where,
    "Xor": _binary(torch.logical_xor),
}
