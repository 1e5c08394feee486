"""What TorchScript calls beside tensor operators: lists, numbers, types, questions about shapes.

Every function takes the run, then the arguments as the source gives them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from cake_edge.errors import TeacherError
from cake_edge.teachers.program_file.network import Run
from cake_edge.teachers.program_file.numbers import NUMERIC, calculate, is_number
from cake_edge.teachers.program_file.operators import is_in_place, takes_tensor_only

__all__ = [
    "BUILTINS",
    "NAMES",
    "NEVER_REACHED",
    "PRIM",
    "TYPES",
    "call_torch",
    "plain_key",
    "to_number",
]

MOST_ITEMS = 10_000
"""Items of a list."""

TYPES: dict[str, type] = {
    "Tensor": torch.Tensor,
    "List": list,
    "list": list,
    "Tuple": tuple,
    "tuple": tuple,
    "Dict": dict,
    "int": int,
    "float": float,
    "bool": bool,
    "str": str,
}
"""What isinstance is asked about."""

NAMES = frozenset(
    {
        *("annotate", "bool", "float", "getattr", "int", "isinstance", "range", "str"),
        *("unchecked_cast", "uninitialized"),
    }
)
"""Names that a source calls bare; `script_run` knows them."""

NEVER_REACHED = (
    *("bernoulli", "bernoulli_", "rand", "rand_like", "randn", "randn_like", "normal_", "uniform_"),
    *("empty", "empty_like", "new_empty", "item", "nonzero", "randperm", "multinomial"),
)
"""Operators that stand in branches for training alone; a program that comes to one is refused."""

NUMBERED_TYPES = {
    torch.uint8: 0,
    torch.int8: 1,
    torch.int16: 2,
    torch.int32: 3,
    torch.int64: 4,
    torch.float16: 5,
    torch.float32: 6,
    torch.float64: 7,
    torch.bool: 11,
    torch.bfloat16: 15,
}
"""c10::ScalarType: TorchScript passes types as numbers."""

FLOATS = (5, 6, 7, 15)


def call_torch(run: Run, name: str, args: list[Any], kwargs: dict[str, Any]) -> Any:
    """Returns what torch.NAME of a source gives: of tensors by an operator, of the rest by Python.

    Raises:
        TeacherError: it is refused.
    """
    if name in BUILTINS:
        result = BUILTINS[name](run, *args, **kwargs)
        if result is not NotImplemented:
            return result
    if name in NEVER_REACHED:
        raise TeacherError(
            f"the program comes to {name}, whose result is random or hangs on values; export the "
            "network in eval mode"
        )
    if args and not any(isinstance(a, torch.Tensor) for a in args):
        plain = name.removesuffix("_") if is_in_place(name) else name
        if plain in NUMERIC or plain.startswith("clamp"):
            return _of_plain_values(plain, args, kwargs)
    for place, value in enumerate(args):
        if is_number(value) and takes_tensor_only(name, place):
            args[place] = torch.ops.aten.scalar_tensor(
                value, dtype=_type_of(value), device=run.device
            )
    return run.operate(name, None, args, kwargs)


def _type_of(value: Any) -> torch.dtype:
    if isinstance(value, (bool, torch.SymBool)):
        return torch.bool
    return torch.int64 if isinstance(value, (int, torch.SymInt)) else torch.float32


def _of_plain_values(name: str, args: list[Any], kwargs: dict[str, Any]) -> Any:
    if name in ("eq", "ne") and not all(is_number(a) for a in args):
        same = flat(args[0]) == flat(args[1])
        return same if name == "eq" else not same
    if name.startswith("clamp"):
        return _clamped(name, *args, **kwargs)
    if name in ("add", "mul") and any(isinstance(a, (list, str)) for a in args):
        return _of_lists(name, args)
    numbers = args[:2]
    alpha = kwargs.get("alpha", args[2] if len(args) > 2 else 1)
    if alpha != 1:
        numbers = [numbers[0], calculate("mul", [numbers[1], alpha])]
    if name == "div" and kwargs.get("rounding_mode") is not None:
        name = "floordiv"  # sizes are not negative, so trunc is floor
    return calculate(name, numbers)


def flat(value: Any) -> Any:
    """Returns a value that can be compared at once: no list of lists.

    Raises:
        TeacherError: lists within lists can stand for more items than there is memory.
    """
    if isinstance(value, (list, tuple)) and any(isinstance(v, (list, tuple, dict)) for v in value):
        raise TeacherError("the program compares lists of lists; trace the network instead")
    return list(value) if isinstance(value, tuple) else value


def _clamped(name: str, value: Any, *bounds: Any, **named: Any) -> Any:
    low, high = (*bounds, None, None)[:2]
    if name == "clamp_max":
        low, high = None, low
    low, high = named.get("min", low), named.get("max", high)
    value = value if low is None else calculate("max", [value, low])
    return value if high is None else calculate("min", [value, high])


def _of_lists(name: str, args: list[Any]) -> Any:
    size = len(args[0]) * args[1] if name == "mul" else len(args[0]) + len(args[1])
    if size > MOST_ITEMS:
        raise TeacherError(
            f"the program makes a list of {size:,} items, of at most {MOST_ITEMS:,}; it is damaged "
            "or made to exhaust memory"
        )
    return args[0] * args[1] if name == "mul" else args[0] + args[1]


def _size(run: Run, tensor: torch.Tensor, dim: int | None = None) -> Any:
    return list(tensor.shape) if dim is None else tensor.shape[dim]


def _length(run: Run, value: Any) -> int:
    return value.shape[0] if isinstance(value, torch.Tensor) else len(value)


def _slice(run: Run, value: Any, *bounds: Any, **named: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return NotImplemented
    start, end, step = (*bounds, *(None,) * (3 - len(bounds)))[:3]
    return value[start:end:step]


def _append(run: Run, items: list[Any], item: Any) -> list[Any]:
    items.append(item)
    return items


def _extend(run: Run, items: list[Any], more: list[Any]) -> None:
    items[:] = _of_lists("add", [items, list(more)])


def _set_item(run: Run, items: Any, key: Any, value: Any) -> Any:
    if not isinstance(items, (list, dict)):
        return NotImplemented
    items[plain_key(key)] = value
    return items


def plain_key(key: Any) -> Any:
    """Returns a place in a list or a dict.

    Raises:
        TeacherError: it is no number and no text.
    """
    if not isinstance(key, (int, float, str, torch.SymInt)):
        raise TeacherError(f"the program takes an item by a {type(key).__name__}; trace it instead")
    return key


def _any(run: Run, value: Any, *rest: Any, **named: Any) -> Any:
    return any(value) if isinstance(value, list) else NotImplemented


def _all(run: Run, value: Any, *rest: Any, **named: Any) -> Any:
    return all(value) if isinstance(value, list) else NotImplemented


def _logical(run: Run, first: Any, *rest: Any) -> Any:
    if isinstance(first, torch.Tensor):
        return NotImplemented
    return calculate("__and__", [first, *rest])


def _tensor(run: Run, value: Any, dtype: Any = None, device: Any = None, **named: Any) -> Any:
    made = torch.tensor(flat(value), device=run.device)
    return made if dtype is None else torch.ops.aten.to(made, dtype)


def _to(run: Run, value: Any, *args: Any, **named: Any) -> Any:
    """Of a number, the number in another type."""
    if isinstance(value, torch.Tensor):
        return NotImplemented
    code = next((a for a in args if type(a) is int), 6)
    return torch.sym_float(value) if code in FLOATS else torch.sym_int(value)


def to_number(run: Run, value: Any, kind: str) -> Any:
    """Returns int(value), float(value) or bool(value) of a number.

    Raises:
        TeacherError: it is a tensor, so that the program's course hangs on what images hold.
    """
    if isinstance(value, str) and kind == "float":
        return float(value)  # "inf", "nan"
    if not is_number(value):
        what = "a tensor" if isinstance(value, torch.Tensor) else type(value).__name__
        raise TeacherError(
            f"the program takes the {kind} of {what}: its course hangs on what the images hold, "
            "and then what it does has no bound. Trace the network instead, with torch.jit.trace"
        )
    if kind == "bool":
        return bool(value)
    return torch.sym_int(value) if kind == "int" else torch.sym_float(value)


def _extreme(name: str, values: tuple[Any, ...]) -> Any:
    """Of two numbers, or of a list of them."""
    first, *rest = values[0] if isinstance(values[0], list) else values
    for value in rest:
        first = calculate(name, [first, value])
    return first


def _convolution(run: Run, *args: Any) -> Any:
    """The same without the last arguments, which are about cuDNN and which no exporter takes."""
    return run.operate("convolution", None, list(args[:9]), {})


def _raise(run: Run, message: Any = "", *rest: Any) -> None:
    raise TeacherError(
        f"the program does not take images of this shape: {str(message)[:200] or 'it says so'}"
    )


BUILTINS: dict[str, Callable[..., Any]] = {
    "size": _size,
    "len": _length,
    "dim": lambda run, tensor: tensor.dim(),
    "numel": lambda run, tensor: tensor.numel(),
    "is_floating_point": lambda run, tensor: tensor.is_floating_point(),
    "is_contiguous": lambda run, tensor, **named: tensor.is_contiguous(),
    "__is__": lambda run, a, b: a is b,
    "__isnot__": lambda run, a, b: a is not b,
    "__not__": lambda run, a: not to_number(run, a, "bool"),
    "__and__": _logical,
    "__contains__": lambda run, items, item: flat(item) in items,
    "format": lambda run, text, *values: text,
    "warn": lambda run, *args, **named: None,
    "list": lambda run, items: list(items),
    "keys": lambda run, items: list(items.keys()),
    "values": lambda run, items: list(items.values()),
    "append": _append,
    "extend": _extend,
    "_set_item": _set_item,
    "slice": _slice,
    "any": _any,
    "all": _all,
    "tensor": _tensor,
    "to": _to,
    "device": lambda run, *args: run.device,
    "Int": lambda run, a: to_number(run, a, "int"),
    "Float": lambda run, a: to_number(run, a, "float"),
    "Bool": lambda run, a: to_number(run, a, "bool"),
    "_convolution": _convolution,
    "floordiv": lambda run, a, b: calculate("floordiv", [a, b]),
}
"""torch.NAME that is no operator of tensors, or not always: then it gives NotImplemented."""

PRIM: dict[str, Callable[..., Any]] = {
    "NumToTensor": lambda run, number: number,
    "RaiseException": _raise,
    "device": lambda run, tensor: run.device,
    "dtype": lambda run, tensor: NUMBERED_TYPES[tensor.dtype],
    "layout": lambda run, tensor: 0,
    "requires_grad": lambda run, tensor: False,
    "is_cuda": lambda run, tensor: run.device.type == "cuda",
    "data": lambda run, tensor: tensor.detach(),
    "max": lambda run, *values: _extreme("max", values),
    "min": lambda run, *values: _extreme("min", values),
    "abs": lambda run, value: calculate("abs", [value]),
    "unchecked_unwrap_optional": lambda run, value: value,
}
"""ops.prim.NAME."""
