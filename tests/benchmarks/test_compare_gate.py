"""The gate keeps what it promises, as its recorded result has it."""

import json

import numpy as np
import pytest

from benchmarks.compare_gate import DEFAULT, Recording, redrawn, shares, slower
from cake_edge.cli.compare import command
from exporters.latency.gate import resample
from exporters.latency.limits import parse_limits


@pytest.fixture(scope="module")
def result(root):
    return json.loads((root / "benchmarks/results/compare_gate.json").read_text())


def test_the_default_gate_is_the_one_that_was_measured(result):
    (option,) = [each for each in command.params if each.name == "limits"]
    assert option.default == DEFAULT == result["default"]


def test_its_promises_were_kept(result):
    assert result["kept"] == {"false alarms": True, "slowdowns caught": True}
    teacher = result["models"][0]
    assert teacher["recordings"] >= 50
    for way in ("every pair as recorded", "random pairs, resampled"):
        row = teacher[way][DEFAULT]
        assert row["pairs"] >= 100
        assert row["false alarms of 100"] <= 5
        assert row["slowdowns caught of 100"] >= 95


def test_it_says_that_it_was_simulated(result):
    assert "simulated from recorded samples" in result["what"]


def recording(center, seed):
    samples = center * (1 + 0.01 * np.random.default_rng(seed).random((60, 5)))
    return Recording(samples_ms=samples, disturbed=None, resampled=resample(samples, seed=seed))


def test_false_alarms_and_caught_slowdowns_are_counted():
    alike, slow = [recording(1.0, seed) for seed in (0, 1)], recording(1.2, 2)
    limits = parse_limits(DEFAULT)
    quiet = shares([tuple(alike)], limits)[DEFAULT]
    assert (quiet["false alarms of 100"], quiet["slowdowns caught of 100"]) == (0, 100)
    loud = shares([tuple(alike), (alike[0], slow)], limits)[DEFAULT]
    assert loud["false alarms of 100"] == 50
    hidden = shares([(slow, alike[0])], limits)[DEFAULT]
    assert hidden["slowdowns caught of 100"] == 0


def test_a_slower_recording_has_every_percentile_scaled():
    measured = recording(1.0, 0).resampled
    assert slower(measured).estimates[50.0] == pytest.approx(1.1 * measured.estimates[50.0])
    assert slower(measured).draws[50.0] == pytest.approx(1.1 * measured.draws[50.0])


def test_a_redrawn_recording_is_made_of_whole_blocks_of_its_rounds():
    samples = np.arange(40.0)[:, np.newaxis]
    found = redrawn(samples, np.random.default_rng(0)).reshape(-1)
    assert len(found) == 40
    assert (np.diff(found.reshape(-1, 2), axis=1) % 40 == 1).all()
