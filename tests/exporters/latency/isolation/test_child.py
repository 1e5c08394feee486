"""The commands of the process that holds a model, carried out here."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from reference.deadly_models import healthy

from exporters.latency.isolation.child import Child

ONE = {"batch": 2, "seed": 0}


@pytest.fixture
def child() -> Iterator[Child]:
    with ExitStack() as stack:
        yield Child(stack)


@pytest.fixture
def opened(child: Child, tmp_path: Path) -> Child:
    how = {"runtime": "ort", "threads": 1, "fixed_batch": 2}
    path = healthy(tmp_path / "a.onnx")
    reply = child.answer({"do": "open", "path": str(path), **how})
    assert reply["runtime"]["runtime"] == "ort"
    assert reply["card"] is None
    assert reply["seconds"] > 0
    return child


def test_the_runtime_is_there_before_the_model(child: Child) -> None:
    reply = child.answer({"do": "start", "runtime": "ort", "memory_limit_mib": None})
    assert set(reply) == {"resident_mib"}


def test_a_runtime_that_is_not_there_is_left_to_opening(child: Child) -> None:
    start = {"do": "start", "runtime": "abacus", "memory_limit_mib": None}
    assert "error" not in child.answer(start)
    found = child.answer({"do": "open", "path": "x.onnx", "runtime": "abacus"})
    assert (found["kind"], found["memory"]) == ("UsageMistake", False)


def test_a_turn_gives_its_own_times_alone(opened: Child) -> None:
    warm = opened.answer({"do": "warm", **ONE, "count": 3, "seconds": 0})
    assert len(warm["warmup_ns"]) == 3
    turns = [opened.answer({"do": "turn", "burst": 4, "settle_seconds": 0}) for _ in range(2)]
    for turn in turns:
        assert len(turn["ns"]) == 4
        # The clock runs from the burst's begin to its end, and no longer.
        assert sum(turn["ns"]) <= turn["wall_ns"]
    assert not gc.isenabled()


def test_the_collector_comes_back(tmp_path: Path) -> None:
    with ExitStack() as stack:
        child = Child(stack)
        child.answer({"do": "open", "path": str(healthy(tmp_path / "a.onnx")), "fixed_batch": 2})
        child.answer({"do": "warm", **ONE, "count": 1, "seconds": 0})
    assert gc.isenabled()


def test_work_lasts_as_long_as_was_asked(opened: Child) -> None:
    found = opened.answer({"do": "work", **ONE, "seconds": 0.05})
    assert found["end"] - found["start"] >= 0.05
    assert found["calls"] >= 1


def test_the_first_call_is_timed_by_itself(opened: Child) -> None:
    assert opened.answer({"do": "first", **ONE})["seconds"] > 0


def test_the_peak_is_that_since_opening_or_unknown(opened: Child) -> None:
    assert set(opened.answer({"do": "memory"})) == {"peak_mib"}


@pytest.mark.parametrize(
    ("raised", "memory"), [(MemoryError(), True), (RuntimeError("odd\nlines"), False)]
)
def test_whatever_a_runtime_raises_is_an_answer(
    opened: Child, monkeypatch: pytest.MonkeyPatch, raised: Exception, memory: bool
) -> None:
    def fail(*given: Any) -> None:
        raise raised

    monkeypatch.setattr(opened._session, "infer", fail)
    found = opened.answer({"do": "first", **ONE})
    assert found["memory"] is memory
    assert found["error"].startswith(type(raised).__name__)
    assert "\n" not in found["error"]


def seen_by(child: Child, monkeypatch: pytest.MonkeyPatch, **shown: Any) -> Any:
    """What the model was given in its first call."""
    seen: list[Any] = []
    with monkeypatch.context() as patch:
        patch.setattr(child._session, "infer", seen.append)
        reply = child.answer({"do": "first", **ONE, **shown})
    assert "error" not in reply, reply
    return seen[0]


def test_the_model_sees_the_kind_that_was_asked_for(
    child: Child, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = str(healthy(tmp_path / "a.onnx"))
    for kind in ("random", "zeros"):
        child.answer({"do": "open", "path": path, "fixed_batch": 2, "input_kind": kind})
        seen = seen_by(child, monkeypatch)
        assert seen.shape == (2, 3, 8, 8)
        assert seen.any() == (kind == "random")


def test_the_model_sees_the_values_of_a_file(
    opened: Child, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert opened.answer({"do": "size"}) == {"input_size": [3, 8, 8]}
    values = np.random.default_rng(0).normal(size=(2, 3, 8, 8)).astype(np.float32)
    file = tmp_path / "images"
    file.write_bytes(values.tobytes())
    assert np.array_equal(seen_by(opened, monkeypatch, images_file=str(file)), values)
    file.write_bytes(values.tobytes()[:-4])
    assert "reshape" in opened.answer({"do": "first", **ONE, "images_file": str(file)})["error"]
