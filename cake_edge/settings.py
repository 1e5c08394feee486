"""Settings from plain values: TOML or JSON in, a frozen dataclass out, strictly.

An unknown key, a missing one or a value of another type is refused with its place in the file. A
whole number is accepted where a number is asked for; nothing else is converted.
"""

from __future__ import annotations

import dataclasses
import math
import sys
import types
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from cake_edge.errors import UsageMistake, near_names

__all__ = ["check_choices", "parse_toml", "place", "settings_from_dict", "settings_to_dict"]

T = TypeVar("T")

TOML: Any = import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")

WORDS: dict[Any, str] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a string",
    Path: "a string",
}
"""What a value of a type is called."""


def settings_from_dict(cls: type[T], values: Mapping[str, Any], where: str) -> T:
    """Builds the settings dataclass `cls` from plain values, nested ones included.

    Args:
        cls: the frozen dataclass to build.
        values: its fields by name; what is left out keeps its default.
        where: what to name before a key in a message, such as "recipes/x.toml: distill".

    Raises:
        UsageMistake: a key is unknown or missing, a value has another type, or `cls` refuses it.
    """
    fields = {f.name: f for f in dataclasses.fields(cast(Any, cls)) if f.init}
    hints = get_type_hints(cls)
    for key in values:
        if key not in fields:
            raise UsageMistake(
                f"{place(where, key)} is unknown{near_names(str(key), fields)}; "
                f"valid here: {', '.join(sorted(fields))}"
            )
    for name, field in fields.items():
        bare = field.default is dataclasses.MISSING
        if bare and field.default_factory is dataclasses.MISSING and name not in values:
            raise UsageMistake(f"{place(where, name)} is missing; give {_wanted(hints[name])}")
    given = {key: _convert(hints[key], value, place(where, key)) for key, value in values.items()}
    try:
        return cls(**given)
    except UsageMistake as error:
        raise UsageMistake(f"{where.rstrip(': ')}: {error}" if where else str(error)) from error


def check_choices(settings: Any) -> None:
    """Refuses settings, built in Python, of which a field with named choices is none of them.

    Raises:
        UsageMistake: one is; the message has the names that are near.
    """
    for name, hint in get_type_hints(type(settings)).items():
        if get_origin(hint) is Literal:
            _convert_literal(get_args(hint), getattr(settings, name), name)


def place(where: str, key: str) -> str:
    """Returns the dotted name of a key: "x.toml: " and "x.toml: distill" are places alike."""
    if not where or where.endswith((" ", ".")):
        return f"{where}{key}"
    return f"{where}.{key}"


def _convert(hint: Any, value: Any, where: str) -> Any:
    """Returns `value` as the type `hint`, or refuses it by the name `where`."""
    origin, arguments = get_origin(hint), get_args(hint)
    if hint is Any:
        return value
    if origin in (Union, types.UnionType):
        return _convert_union(arguments, value, where, hint)
    if origin is Literal:
        return _convert_literal(arguments, value, where)
    if origin is tuple and isinstance(value, (list, tuple)):
        return _convert_tuple(arguments, value, where, hint)
    if _is_mapping(hint) and isinstance(value, Mapping):
        inner = arguments[1] if arguments else Any
        return {str(k): _convert(inner, v, place(where, str(k))) for k, v in value.items()}
    if dataclasses.is_dataclass(hint) and isinstance(value, Mapping):
        return settings_from_dict(cast(type[Any], hint), value, where)
    if hint is float and type(value) in (int, float):
        if not _is_finite(value):
            raise UsageMistake(f"{where} is {value}; it must be finite")
        return float(value)
    if hint is Path and isinstance(value, str):
        return Path(value)
    # By exact type, because Python counts true as a whole number and settings do not.
    if type(value) is hint:
        return value
    raise UsageMistake(f"{where} is {_said(value)}; it must be {_wanted(hint)}")


def _is_finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number of hundreds of digits
        return False


def _convert_union(arguments: tuple[Any, ...], value: Any, where: str, hint: Any) -> Any:
    """Takes the first alternative that fits; one alternative beside None speaks for itself."""
    if value is None and type(None) in arguments:
        return None
    alternatives = [argument for argument in arguments if argument is not type(None)]
    if len(alternatives) == 1:
        return _convert(alternatives[0], value, where)
    for alternative in alternatives:
        with suppress(UsageMistake):
            return _convert(alternative, value, where)
    raise UsageMistake(f"{where} is {_said(value)}; it must be {_wanted(hint)}")


def _convert_literal(allowed: tuple[Any, ...], value: Any, where: str) -> Any:
    if any(value == choice and type(value) is type(choice) for choice in allowed):
        return value
    near = near_names(value, map(str, allowed)) if isinstance(value, str) else ""
    raise UsageMistake(
        f"{where} is {_said(value)}{near}; allowed: {', '.join(str(choice) for choice in allowed)}"
    )


def _convert_tuple(
    arguments: tuple[Any, ...], value: Sequence[Any], where: str, hint: Any
) -> tuple[Any, ...]:
    if len(arguments) == 2 and arguments[1] is Ellipsis:
        arguments = (arguments[0],) * len(value)
    if len(arguments) != len(value):
        raise UsageMistake(f"{where} has {len(value)} values; it must be {_wanted(hint)}")
    pairs = zip(arguments, value, strict=True)
    return tuple(_convert(h, v, f"{where}[{i}]") for i, (h, v) in enumerate(pairs))


def _is_mapping(hint: Any) -> bool:
    kind = get_origin(hint) or hint
    return isinstance(kind, type) and issubclass(kind, Mapping)


def _said(value: Any) -> str:
    """A value as it was given, with the name of its type."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Mapping):
        return "a table"
    if isinstance(value, (list, tuple)):
        return f"the list {list(value)}"
    return f"{value!r} ({WORDS.get(type(value), 'a ' + type(value).__name__)})"


def _wanted(hint: Any) -> str:
    """A type in words."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return " or ".join(_wanted(a) for a in arguments if a is not type(None))
    if origin is Literal:
        return "one of " + ", ".join(str(choice) for choice in arguments)
    if origin is tuple:
        if arguments[1:] == (Ellipsis,):
            return f"a list, each {_wanted(arguments[0])}"
        return f"a list of {len(arguments)}: " + ", ".join(_wanted(a) for a in arguments)
    if _is_mapping(hint) or dataclasses.is_dataclass(hint):
        return "a table"
    return WORDS.get(hint, str(hint))


def settings_to_dict(settings: Any) -> dict[str, Any]:
    """Returns a settings dataclass as plain values for JSON; the inverse of the above."""
    return {f.name: _plain(getattr(settings, f.name)) for f in dataclasses.fields(settings)}


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return settings_to_dict(value)
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value.as_posix() if isinstance(value, Path) else value


def parse_toml(text: str, where: str) -> dict[str, Any]:
    """Reads TOML.

    Raises:
        UsageMistake: the text is not TOML; the message has line and column.
    """
    try:
        return dict(TOML.loads(text))
    except RecursionError as error:
        raise UsageMistake(f"{where} is nested too deeply; write it flat") from error
    except ValueError as error:  # TOMLDecodeError is one, and so is a number of too many digits
        raise UsageMistake(f"{where} is not valid TOML: {error}") from error
