from __future__ import annotations

from typing import Any, TypedDict

import pytest

from cake_edge.errors import ArtifactError
from exporters.report.checks import check


class Leaf(TypedDict):
    name: str
    value: float | None


class _RootCore(TypedDict):
    leaves: list[Leaf]
    count: int


class Root(_RootCore, total=False):
    sizes: dict[str, int]
    flag: bool
    either: int | str | None
    free: Any


GOOD: dict[str, Any] = {"leaves": [{"name": "a", "value": None}], "count": 1}


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"unknown": object},
        {"sizes": {"a": 1}, "flag": True, "either": "x", "free": [1, None]},
        {"either": None},
        {"leaves": [{"name": "a", "value": 3}]},
    ],
)
def test_what_fits_passes(more: dict[str, Any]) -> None:
    check({**GOOD, **more}, Root, "")


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({"count": 1}, r"^leaves is missing; the fields are leaves, count"),
        ({**GOOD, "count": True}, "^count is True; it must be a whole number"),
        ({**GOOD, "count": 1.0}, "^count is 1.0; it must be a whole number"),
        ({**GOOD, "flag": 1}, "^flag is 1; it must be true or false"),
        ({**GOOD, "leaves": {}}, "^leaves is {}; it must be a list"),
        ({**GOOD, "leaves": [{"name": "a"}]}, r"^leaves\[0\].value is missing"),
        ({**GOOD, "leaves": [3]}, r"^leaves\[0\] is 3; it must be an object"),
        (
            {**GOOD, "leaves": [{"name": "a", "value": float("nan")}]},
            r"^leaves\[0\].value is nan; it must be a finite number",
        ),
        ({**GOOD, "sizes": {"a": "b"}}, "^sizes.a is 'b'; it must be a whole number"),
        ({**GOOD, "sizes": []}, r"^sizes is \[\]; it must be an object"),
        ({**GOOD, "either": 1.5}, "^either is 1.5; it must be a whole number or text"),
        ([], r"^the report is \[\]; it must be an object"),
    ],
)
def test_what_does_not_fit_is_named_by_its_place(value: Any, words: str) -> None:
    with pytest.raises(ArtifactError, match=words):
        check(value, Root, "")
