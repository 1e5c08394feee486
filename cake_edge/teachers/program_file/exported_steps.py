"""From the JSON of a torch.export program to steps: checked values, no expression is evaluated.

The form is that of torch/_export/serde/schema.py. Symbolic sizes stand there as text for sympy;
here they are not read at all, since the steps measure their inputs themselves. Names are keys of
dictionaries and never code.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch

from cake_edge.errors import TeacherError
from cake_edge.teachers.program_file.numbers import NUMERIC
from cake_edge.teachers.program_file.operators import operator
from cake_edge.teachers.program_file.rehearsal import MOST_STEPS

__all__ = ["SCALAR_TYPES", "Reference", "Step", "read_steps"]

SCALAR_TYPES = {
    1: torch.uint8,
    2: torch.int8,
    3: torch.int16,
    4: torch.int32,
    5: torch.int64,
    6: torch.float16,
    7: torch.float32,
    8: torch.float64,
    12: torch.bool,
    13: torch.bfloat16,
}
"""schema.ScalarType: the numbers of the types that a classifier's tensors have."""

MEMORY_FORMATS = {
    1: torch.contiguous_format,
    2: torch.channels_last,
    4: torch.preserve_format,
}
STRIDED = 7
"""schema.Layout: the number of dense tensors."""

SPECIAL_FLOATS = {"Infinity": float("inf"), "-Infinity": float("-inf"), "NaN": float("nan")}

CHECKS = frozenset(
    {
        "_assert_async",
        "_assert_scalar",
        "_assert_tensor_metadata",
        "sym_constrain_range",
        "sym_constrain_range_for_size",
    }
)
"""Operators that return nothing and only check what the exporter took for granted."""


@dataclass(frozen=True, slots=True)
class Reference:
    """Stands for a value that an earlier step made."""

    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One call."""

    kind: str
    """"aten" for an operator, "number" for arithmetic on sizes."""
    name: str
    overload: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    outputs: tuple[Any, ...]
    """The names that its results get; a tuple of names where one result is a list."""
    frees: tuple[str, ...] = ()
    """Names that no later step uses."""


def read_steps(graph: dict[str, Any], known: set[str], wanted: str) -> tuple[Step, ...]:
    """Returns the steps of a graph up to the value `wanted`.

    Args:
        graph: schema.Graph.
        known: the names of its inputs.
        wanted: the name of its result.

    Raises:
        TeacherError: a step calls what a program may not call, or is not of that form.
    """
    nodes = graph["nodes"]
    if len(nodes) > MOST_STEPS:
        raise TeacherError(f"the program has {len(nodes):,} steps, of at most {MOST_STEPS:,}")
    steps = []
    known = set(known)
    for node in nodes:
        step = _read_node(node)
        if step is None:
            continue
        missing = next((n for n in _names((step.args, step.kwargs)) if n not in known), None)
        if missing is not None:
            raise _damaged(f"its step {step.name} uses {missing[:60]!r}, which none before makes")
        known |= set(_flat(step.outputs))
        steps.append(step)
    if wanted not in known:
        raise _damaged(f"it returns {wanted[:60]!r}, which no step makes")
    return _freeing(steps, wanted)


def _freeing(steps: list[Step], wanted: str) -> tuple[Step, ...]:
    """Notes at each step what is used there for the last time."""
    needed = {wanted}
    done = []
    for step in reversed(steps):
        used = set(_names((step.args, step.kwargs))) | set(_flat(step.outputs))
        frees = tuple(sorted(used - needed))
        needed |= used
        done.append(replace(step, frees=frees))
    return tuple(reversed(done))


def _read_node(node: dict[str, Any]) -> Step | None:
    kind, name, overload = _target(node["target"])
    if kind == "check":
        return None
    if kind == "aten":
        operator(name, overload)
    args: list[Any] = []
    kwargs: dict[str, Any] = {}
    for given in node["inputs"]:
        value = _value(given["arg"])
        by_name = given.get("kind") == 2 or (given.get("kind") is None and kind == "aten")
        if by_name:
            kwargs[str(given["name"])] = value
        else:
            args.append(value)
    outputs = tuple(_output(o) for o in node["outputs"])
    return Step(
        kind=kind, name=name, overload=overload, args=tuple(args), kwargs=kwargs, outputs=outputs
    )


def _target(target: Any) -> tuple[str, str, str]:
    text = str(target)
    found = re.fullmatch(r"torch\.ops\.aten\.(\w+)\.(\w+)", text)
    if found is not None:
        return ("check" if found[1] in CHECKS else "aten"), found[1], found[2]
    found = re.fullmatch(r"_operator\.(\w+)|math\.(\w+)|torch\.(sym_\w+)", text)
    name = next((g for g in found.groups() if g), "") if found else ""
    if name in NUMERIC:
        return "number", name, ""
    raise TeacherError(
        f"the program calls {text[:80]!r}; only torch's own operators (torch.ops.aten) and "
        "arithmetic on sizes are run from a file, since anything else could be any code. Export "
        "the network without it, or as ONNX"
    )


def _output(output: dict[str, Any]) -> Any:
    kind, value = _only(output)
    if kind == "as_tensor":
        return _text(value["name"])
    if kind == "as_tensors":
        return tuple(_text(v["name"]) for v in value)
    if kind in ("as_sym_int", "as_sym_float", "as_sym_bool"):
        return _text(value["as_name"])
    if kind == "as_none":
        return ()
    raise _damaged(f"a step returns {kind}")


def _value(argument: dict[str, Any]) -> Any:
    """An argument as a plain value, with `Reference` for values of earlier steps."""
    kind, value = _only(argument)
    if kind not in ARGUMENTS:
        raise TeacherError(
            f"the program hands a step {kind.removeprefix('as_')!r} as an argument, which no step "
            "that is run from a file takes (control flow and custom objects are not supported); "
            "export the network without it, or as ONNX"
        )
    try:
        return ARGUMENTS[kind](value)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise _damaged(f"an argument is {kind} {str(value)[:60]!r}") from error


def _only(union: Any) -> tuple[str, Any]:
    given = [(k, v) for k, v in union.items() if v is not None] if isinstance(union, dict) else []
    if len(given) != 1:
        raise _damaged(f"a value reads {str(union)[:60]!r}")
    return given[0]


def _text(value: Any) -> str:
    if type(value) is not str:
        raise TypeError(value)
    return value


def _integer(value: Any) -> int:
    if type(value) is not int or abs(value) >= 1 << 63:
        raise TypeError(value)
    return value


def _truth(value: Any) -> bool:
    if type(value) is not bool:
        raise TypeError(value)
    return value


def _real(value: Any) -> float:
    if isinstance(value, str):
        return SPECIAL_FLOATS[value]
    if type(value) not in (int, float):
        raise TypeError(value)
    return float(value)


def _tensor(value: Any) -> Reference:
    return Reference(_text(value["name"]))


def _symbol(value: Any) -> Any:
    kind, inner = _only(value)
    readers: dict[str, Callable[[Any], Any]] = {
        "as_name": lambda v: Reference(_text(v)),
        "as_int": _integer,
        "as_float": _real,
        "as_bool": _truth,
    }
    return readers[kind](inner)


def _optional(value: Any) -> Reference | None:
    kind, inner = _only(value)
    return None if kind == "as_none" else {"as_tensor": _tensor}[kind](inner)


def _dense(value: Any) -> torch.layout:
    return {STRIDED: torch.strided}[value]


def _many(read: Callable[[Any], Any]) -> Callable[[Any], list[Any]]:
    return lambda values: [read(value) for value in values]


ARGUMENTS: dict[str, Callable[[Any], Any]] = {
    "as_none": lambda value: None,
    "as_tensor": _tensor,
    "as_tensors": _many(_tensor),
    "as_int": _integer,
    "as_ints": _many(_integer),
    "as_float": _real,
    "as_floats": _many(_real),
    "as_string": _text,
    "as_bool": _truth,
    "as_bools": _many(_truth),
    "as_sym_int": _symbol,
    "as_sym_ints": _many(_symbol),
    "as_sym_float": _symbol,
    "as_sym_floats": _many(_symbol),
    "as_sym_bool": _symbol,
    "as_sym_bools": _many(_symbol),
    "as_scalar_type": lambda value: SCALAR_TYPES[value],
    "as_memory_format": lambda value: MEMORY_FORMATS[value],
    "as_layout": _dense,
    "as_device": lambda value: torch.device("cpu"),
    "as_optional_tensor": _optional,
    "as_optional_tensors": _many(_optional),
}
"""How each kind of argument is read (schema.Argument); the kinds left out are refused."""


def _names(value: Any) -> list[str]:
    """The names that arguments refer to."""
    if isinstance(value, Reference):
        return [value.name]
    if isinstance(value, dict):
        value = tuple(value.values())
    return [n for v in value for n in _names(v)] if isinstance(value, (list, tuple)) else []


def _flat(outputs: tuple[Any, ...]) -> list[str]:
    return [n for o in outputs for n in ((o,) if isinstance(o, str) else o)]


def _damaged(what: str) -> TeacherError:
    return TeacherError(
        f"the program is not what torch.export writes: {what}; the file is damaged, so get it again"
    )
