"""The record of the harness is what its figures say, and the parts that made it count rightly."""

import json

import numpy as np
import pytest

from benchmarks.latency_harness import (
    BURST,
    PROMISES,
    WARM,
    NoOp,
    bare_loop,
    harness_loop,
    kept,
    no_op_model,
    profiled_calls,
)
from exporters.runtimes.ort import OrtSession

IMAGES = np.zeros((1, 3, 8, 8), np.float32)


@pytest.fixture(scope="module")
def result(root):
    return json.loads((root / "benchmarks/results/latency_harness.json").read_text())


def test_what_is_recorded_as_kept_follows_from_the_figures(result):
    assert len(result["models"]) == 3
    assert result["kept"] == kept(result["models"], result["model that does nothing"])
    assert result["kept"].keys() == PROMISES.keys()


def test_the_harness_adds_less_than_promised_to_a_model_that_does_nothing(result):
    assert result["kept"]["added to a model that does nothing"]


def test_a_promise_that_is_not_kept_is_seen(result):
    worse = json.loads(json.dumps(result))
    for row in worse["models"].values():
        row["profile"]["ratio"]["estimate"] = 1.02
        row["bare loop"]["ratio"]["estimate"] = 0.98
    worse["model that does nothing"]["python"]["added_us"] = 21.0
    found = kept(worse["models"], worse["model that does nothing"])
    assert not found["p50 beside a bare loop"]
    assert not found["p50 beside ONNX Runtime's profile"]
    assert not found["added to a model that does nothing"]


def test_both_loops_run_a_model_that_does_nothing(tmp_path):
    no_op_model(tmp_path / "nothing.onnx")
    with OrtSession(tmp_path / "nothing.onnx", fixed_batch=1) as session:
        assert bare_loop(session, IMAGES, 10).shape == (10,)
        assert harness_loop(session, IMAGES, 10).shape == (10,)
    assert (harness_loop(NoOp(), IMAGES, 10) >= 0).all()


@pytest.mark.parametrize("ahead", [0, 1])
def test_calls_outside_the_clock_are_left_out_of_the_profile(tmp_path, ahead):
    runs = [{"name": "model_run", "dur": 999}] * WARM
    for turn in range(4):
        runs += [{"name": "model_run", "dur": 888}] * ahead + [{"name": "node", "dur": 1}]
        runs += [{"name": "model_run", "dur": BURST * turn + call} for call in range(BURST)]
    path = tmp_path / "profile.json"
    path.write_text(json.dumps(runs))
    assert profiled_calls(path, ahead).tolist() == list(range(4 * BURST))
