"""Strict settings: what fits is taken, what does not is named with its place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

import pytest

from cake_edge.errors import UsageMistake
from cake_edge.settings import parse_toml, settings_from_dict, settings_to_dict


@dataclass(frozen=True, slots=True, kw_only=True)
class Inner:
    rate: float = 0.1
    bounds: tuple[float, float] = (0.0, 1.0)

    def __post_init__(self) -> None:
        if self.rate <= 0:
            raise UsageMistake(f"rate is {self.rate}; it must be positive")


@dataclass(frozen=True, slots=True, kw_only=True)
class Outer:
    kind: ClassVar[str] = "outer"
    steps: int
    mode: Literal["name", "order"] = "name"
    mean: tuple[float, ...] | None = None
    size: int | tuple[int, ...] = 1
    on: bool = False
    place: Path | None = None
    arguments: Mapping[str, Any] = field(default_factory=dict)
    weights: Mapping[str, float] = field(default_factory=dict)
    inner: Inner = field(default_factory=Inner)


def test_plain_values_become_settings_and_come_back() -> None:
    values = {
        "steps": 3,
        "mode": "order",
        "mean": [0.5, 1],
        "size": [2, 3],
        "on": True,
        "place": "a/b",
        "arguments": {"depth": [1, 2], "act": "relu"},
        "weights": {"a": 1},
        "inner": {"rate": 1, "bounds": [0, 2.5]},
    }
    settings = settings_from_dict(Outer, values, "x.toml: ")
    assert settings == Outer(
        steps=3,
        mode="order",
        mean=(0.5, 1.0),
        size=(2, 3),
        on=True,
        place=Path("a/b"),
        arguments={"depth": [1, 2], "act": "relu"},
        weights={"a": 1.0},
        inner=Inner(rate=1.0, bounds=(0.0, 2.5)),
    )
    assert isinstance(settings.inner.rate, float)
    assert settings_from_dict(Outer, settings_to_dict(settings), "") == settings


def test_what_is_left_out_keeps_its_default_and_null_fits_an_optional() -> None:
    settings = settings_from_dict(Outer, {"steps": 1, "mean": None}, "")
    assert settings == Outer(steps=1)
    assert settings_to_dict(settings)["mean"] is None


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"steps": "many"}, ["x.toml: distill.steps is 'many' (a string)", "a whole number"]),
        ({"steps": True}, ["distill.steps is true", "a whole number"]),
        ({"steps": 1.0}, ["distill.steps is 1.0 (a number)", "a whole number"]),
        ({"steps": 1, "on": 1}, ["distill.on is 1", "true or false"]),
        ({"steps": 1, "stpes": 2}, ["distill.stpes is unknown", "did you mean steps", "mode"]),
        ({}, ["distill.steps is missing", "a whole number"]),
        ({"steps": 1, "mode": "oder"}, ["distill.mode is 'oder'", "order", "allowed: name, order"]),
        ({"steps": 1, "mean": 0.5}, ["distill.mean is 0.5", "a list, each a number"]),
        ({"steps": 1, "mean": [0.5, "x"]}, ["distill.mean[1] is 'x'", "a number"]),
        ({"steps": 1, "size": "big"}, ["distill.size is 'big'", "whole number or a list"]),
        ({"steps": 1, "inner": 3}, ["distill.inner is 3", "a table"]),
        ({"steps": 1, "inner": {"rate": True}}, ["distill.inner.rate is true", "a number"]),
        ({"steps": 1, "inner": {"rate": float("nan")}}, ["distill.inner.rate", "finite"]),
        ({"steps": 1, "inner": {"rate": -1}}, ["distill.inner: rate is -1.0", "positive"]),
        ({"steps": 1, "inner": {"bounds": [1]}}, ["distill.inner.bounds has 1 values", "of 2"]),
        ({"steps": 1, "weights": {"a": "b"}}, ["distill.weights.a is 'b'", "a number"]),
        ({"steps": None}, ["distill.steps is null", "a whole number"]),
        ({"steps": 1, "kind": "x"}, ["distill.kind is unknown"]),
    ],
)
def test_what_does_not_fit_is_named_with_its_place(
    values: dict[str, Any], words: list[str]
) -> None:
    with pytest.raises(UsageMistake) as caught:
        settings_from_dict(Outer, values, "x.toml: distill")
    for word in words:
        assert word in str(caught.value)


def test_toml_that_is_none_is_one_sentence_with_its_line() -> None:
    assert parse_toml("a = [1, 2]", "x.toml") == {"a": [1, 2]}
    with pytest.raises(UsageMistake, match=r"x\.toml is not valid TOML: .*line 2") as caught:
        parse_toml("a = 1\nb = = 2\n", "x.toml")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a = " + "[" * 20_000, "r.toml is nested too deeply"),
        ("a = " + "9" * 5_000, "r.toml is not valid TOML"),
    ],
)
def test_toml_made_to_exhaust_the_parser_is_refused(text: str, message: str) -> None:
    with pytest.raises(UsageMistake, match=message):
        parse_toml(text, "r.toml")


def test_a_whole_number_beyond_every_float_is_refused() -> None:
    with pytest.raises(UsageMistake, match=r"rate is 1000.*must be finite"):
        settings_from_dict(Inner, {"rate": 10**400}, "")
