"""What is said of the check of preprocessing is what was measured."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.preprocessing_check import _missed, _place
from cake_edge.teachers.plausibility import RATIO, Plausibility, Row


@pytest.fixture(scope="module")
def results(root: Path) -> dict[str, Any]:
    path = root / "benchmarks" / "results" / "preprocessing_check.json"
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def test_the_ratio_in_use_is_the_one_that_was_measured(results: dict[str, Any]) -> None:
    assert results["ratio"] == RATIO


def test_no_right_preprocessing_was_warned_of(results: dict[str, Any]) -> None:
    runs = [run for teacher in results["teachers"].values() for run in teacher["runs"]]
    assert not any(run["warned_of_the_true"] for run in runs)
    assert results["summary"]["one spread"]["by_ratio"][str(RATIO)]["false_warnings"] == 0


def test_pixels_of_0_to_255_would_have_been_noticed(results: dict[str, Any]) -> None:
    telling = [
        run for teacher in results["teachers"].values() for run in teacher["runs"] if run["telling"]
    ]
    assert len(telling) >= 9
    assert not any("zero-255" in run["missed"] for run in telling)


def test_logits_of_one_spread_give_fewer_false_warnings(results: dict[str, Any]) -> None:
    summary = results["summary"]
    for ratio in map(str, (1.1, 1.2, RATIO)):
        used, plain = (summary[name]["by_ratio"][ratio] for name in ("one spread", "as they are"))
        assert used["false_warnings"] <= plain["false_warnings"]


def row(name: str, score: float) -> Row:
    return Row(name=name, stated=False, score=score, information=score, confidence=0.5, decisions=4)


def test_what_the_check_misses_is_counted() -> None:
    rows = (row("a", 1.0), row("b", 0.9), row("c", 0.5))
    found = Plausibility(images=8, rows=rows, warning=None, telling=True)
    assert _missed(found, "a") == ["b"]
    assert _place(found, "b", lambda row: row.score) == 2
    blind = Plausibility(images=8, rows=rows, warning=None, telling=False)
    assert _missed(blind, "a") == ["b", "c"]
