"""Arithmetic on plain numbers, as programs do it on sizes: bounded, and on nothing else."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any

import torch

from cake_edge.errors import TeacherError

__all__ = ["NUMERIC", "calculate", "is_number"]


def _power(base: Any, exponent: Any) -> Any:
    if isinstance(exponent, int) and abs(exponent) > 64:
        raise OverflowError("an exponent above 64")
    return base**exponent


def _square_root(value: Any) -> Any:
    return torch.sym_sqrt(value) if not isinstance(value, (int, float)) else math.sqrt(value)


NUMERIC: dict[str, Callable[..., Any]] = {
    "add": operator.add,
    "sub": operator.sub,
    "rsub": lambda a, b: b - a,
    "mul": operator.mul,
    "div": operator.truediv,
    "truediv": operator.truediv,
    "floordiv": operator.floordiv,
    "floor_divide": operator.floordiv,
    "mod": operator.mod,
    "remainder": operator.mod,
    "pow": _power,
    "neg": operator.neg,
    "abs": abs,
    "eq": operator.eq,
    "ne": operator.ne,
    "lt": operator.lt,
    "le": operator.le,
    "gt": operator.gt,
    "ge": operator.ge,
    "and_": operator.and_,
    "or_": operator.or_,
    "__and__": operator.and_,
    "__or__": operator.or_,
    "not_": operator.not_,
    "max": torch.sym_max,
    "min": torch.sym_min,
    "floor": lambda a: a if isinstance(a, int) else math.floor(a),
    "ceil": lambda a: a if isinstance(a, int) else math.ceil(a),
    "trunc": lambda a: a if isinstance(a, int) else math.trunc(a),
    "round": lambda a: a if isinstance(a, int) else round(a),
    "sqrt": _square_root,
    "sym_max": torch.sym_max,
    "sym_min": torch.sym_min,
    "sym_not": torch.sym_not,
    "sym_int": torch.sym_int,
    "sym_float": torch.sym_float,
    "sym_sqrt": _square_root,
}
"""What numbers may be put to."""

SYMBOLIC = (torch.SymInt, torch.SymFloat, torch.SymBool)


def is_number(value: Any) -> bool:
    """Whether a value is a plain number, or a symbol for one while torch exports."""
    return isinstance(value, (int, float, *SYMBOLIC))


def calculate(name: str, values: list[Any]) -> Any:
    """Returns the result of `NUMERIC[name]`.

    Raises:
        TeacherError: the values are no numbers, or the result does not fit 64 bits.
    """
    if not all(is_number(value) for value in values):
        kinds = ", ".join(type(value).__name__ for value in values)
        raise TeacherError(
            f"the program calculates {name} of {kinds}, where only numbers can be; it is damaged, "
            "so get it again"
        )
    try:
        result = NUMERIC[name](*values)
    except (ArithmeticError, TypeError, ValueError) as error:
        raise TeacherError(
            f"the program calculates {name}, which fails ({error}); it is damaged, or not made for "
            "images of this shape"
        ) from error
    if type(result) is int and abs(result) >= 1 << 63:
        raise TeacherError(
            f"the program calculates {name}, and the result does not fit 64 bits; it is damaged, "
            "so get it again"
        )
    return result
