"""Models in processes of their own that take turns."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from reference.deadly_models import healthy, hog

from cake_edge.errors import DatasetError
from exporters.latency.harness import LatencyConfig, paired_ratio
from exporters.latency.isolation.apart import open_apart, time_in_turns
from exporters.latency.isolation.worker import Setting

HOW = {"runtime": "ort", "threads": 1}
QUICK = LatencyConfig(
    warmup_seconds=0, warmup_count=2, min_seconds=0, min_count=20, burst=4, batch=2
)
SETTING = Setting(timeout_seconds=60)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return healthy(tmp_path / "a.onnx")


def test_rounds_of_processes_can_be_paired(file: Path) -> None:
    told: list[tuple[str, int, int]] = []
    with open_apart([file, file], HOW, QUICK, SETTING) as models:
        time_in_turns(models, QUICK, lambda task, i, n, note="": told.append((task, i, n)))
        memory = models[0].memory_mib()
    first, second = (model.result() for model in models)
    assert first is not None
    assert second is not None
    assert first.samples_ms.shape == second.samples_ms.shape == (5, 4)
    assert paired_ratio(first, second).estimate > 0
    assert np.isclose(first.first_ms, models[0]._warmup[0] / 1e6)
    assert told[-1] == ("latency", 100, 100)
    assert memory is not None
    assert memory["device"] is None


def test_one_that_fails_leaves_and_the_others_have_whole_rounds(file: Path, tmp_path: Path) -> None:
    with open_apart([file, hog(tmp_path / "hog.onnx"), file], HOW, QUICK, SETTING) as models:
        time_in_turns(models, QUICK)
        assert [model.open for model in models] == [True, False, True]
        assert models[1].memory_mib() is None
        assert models[1].work(0.01) is None
    well, lost, also_well = models
    assert lost.result() is None
    assert str(lost.failure).startswith("out of memory while it was warmed up")
    for model in (well, also_well):
        result = model.result()
        assert result is not None
        assert result.samples_ms.shape == (5, 4)


def test_nothing_is_measured_of_what_was_not_timed(file: Path) -> None:
    with open_apart([file], HOW, QUICK, SETTING) as (model,):
        assert model.opening is not None
        assert model.opening.card is None
        assert model.opening.runtime["runtime"] == "ort"
    assert model.result() is None
    assert model.failure is None


def test_a_turn_that_cannot_be_ends_when_all_have_failed(tmp_path: Path) -> None:
    with open_apart([hog(tmp_path / "hog.onnx")], HOW, QUICK, SETTING) as models:
        time_in_turns(models, QUICK)
    assert models[0].failure is not None


def test_time_and_count_are_both_met(file: Path) -> None:
    config = LatencyConfig(warmup_count=1, warmup_seconds=0, min_seconds=0.2, min_count=1, burst=1)
    with open_apart([file], HOW, config, SETTING) as models:
        time_in_turns(models, config)
    result = models[0].result()
    assert result is not None
    assert result.samples_ms.size > 5


def test_brought_images_go_to_each_process_that_they_fit(file: Path, tmp_path: Path) -> None:
    sizes = iter((8, 9))

    def brought(count: int, spec: object) -> np.ndarray:
        return np.ones((1, 3, 8, next(sizes)), np.float32)

    with open_apart([file, file], HOW, QUICK, SETTING) as models:
        for number, model in enumerate(models):
            model.show(brought, tmp_path / str(number))
        well, lost = models
        assert well.images_file == tmp_path / "0"
        assert np.fromfile(tmp_path / "0", np.float32).tolist() == [1.0] * (2 * 3 * 8 * 8)
        assert not lost.open
        assert lost.images_file is None
        time_in_turns(models, QUICK)
    assert well.result() is not None
    assert lost.result() is None
    assert lost.failure is not None
    assert isinstance(lost.failure.cause, DatasetError)
    assert "the model takes [3, 8, 8]" in str(lost.failure)


def test_a_model_that_is_lost_already_is_shown_nothing(tmp_path: Path) -> None:
    with open_apart([tmp_path / "absent.onnx"], HOW, QUICK, SETTING) as (model,):
        model.show(lambda count, spec: pytest.fail("nobody is there to see it"), tmp_path / "0")
    assert "absent" in str(model.failure)
