"""Holds a JSON value against a TypedDict, so that a format is written down once."""

from __future__ import annotations

import math
import types
from collections.abc import Mapping
from typing import Any, Union, get_args, get_origin, get_type_hints, is_typeddict

from cake_edge.errors import ArtifactError

__all__ = ["check"]

WORDS = {
    str: "text",
    int: "a whole number",
    float: "a finite number",
    bool: "true or false",
    type(None): "null",
}


def check(value: Any, kind: Any, place: str) -> None:
    """Checks `value` against a type made of TypedDict, list, Mapping, unions and JSON's own.

    Keys that a TypedDict does not name are allowed: a format is extended, not renamed.

    Raises:
        ArtifactError: a field is missing or of another type; the message names its place.
    """
    if kind is Any:
        return
    if is_typeddict(kind):
        _check_fields(value, kind, place)
    elif get_origin(kind) in (Union, types.UnionType):
        _check_union(value, get_args(kind), place)
    elif get_origin(kind) is list:
        if not isinstance(value, list):
            raise _wrong(value, "a list", place)
        for index, item in enumerate(value):
            check(item, get_args(kind)[0], f"{place}[{index}]")
    elif get_origin(kind) is dict:
        if not isinstance(value, Mapping):
            raise _wrong(value, "an object", place)
        for key, item in value.items():
            check(item, get_args(kind)[1], f"{place}.{key}")
    elif not _is(value, kind):
        raise _wrong(value, WORDS[kind], place)


def _check_fields(value: Any, kind: Any, place: str) -> None:
    if not isinstance(value, Mapping):
        raise _wrong(value, "an object", place)
    hints = get_type_hints(kind)
    for name, hint in hints.items():
        if name in value:
            check(value[name], hint, f"{place}.{name}" if place else name)
        elif name in kind.__required_keys__:
            raise ArtifactError(
                f"{place + '.' if place else ''}{name} is missing; "
                f"the fields are {', '.join(hints)}"
            )


def _check_union(value: Any, kinds: tuple[Any, ...], place: str) -> None:
    if value is None and type(None) in kinds:
        return
    real = [kind for kind in kinds if kind is not type(None)]
    if len(real) == 1:
        check(value, real[0], place)
    elif not any(_is(value, kind) for kind in real):
        raise _wrong(value, " or ".join(WORDS[kind] for kind in real), place)


def _is(value: Any, kind: Any) -> bool:
    if kind is float:
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        return number and math.isfinite(value)
    if kind is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, kind)


def _wrong(value: Any, allowed: str, place: str) -> ArtifactError:
    return ArtifactError(f"{place or 'the report'} is {value!r:.80}; it must be {allowed}")
