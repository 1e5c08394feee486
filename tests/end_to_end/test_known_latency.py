"""A runtime of known latency is measured, and found to have it: time is the test's own."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from reference.queues import Time

from exporters.latency import lane
from exporters.latency.bootstrap import resampled_percentiles
from exporters.latency.harness import LatencyConfig, measure, paired_ratio
from exporters.latency.scenarios import ScenarioConfig, run_scenario

IMAGES = np.zeros((1, 3, 4, 4), np.float32)
MEDIAN_MS, SIGMA = 5.0, 0.2
RUNS = 200
# 200 runs at 95 % have a standard error of 1.5 %; and a bootstrap of blocks is a little short.
COVERED = (0.90, 0.99)


class Sleeper:
    """Sleeps for lognormal times of a known median."""

    def __init__(self, clock, median_ms, seed):
        self._clock, self._median = clock, median_ms
        self._random = np.random.default_rng(seed)

    def infer(self, images):
        self._clock.sleep(self._median * self._random.lognormal(0.0, SIGMA) / 1e3)
        return images


@pytest.fixture
def clock(monkeypatch):
    """The clock that lanes read."""
    time = Time()
    monkeypatch.setattr(
        lane, "time", SimpleNamespace(perf_counter_ns=lambda: round(1e9 * time.now()))
    )
    return time


@pytest.fixture(autouse=True)
def no_collection(monkeypatch):
    """A collection before each of many runs would be most of what they take."""
    monkeypatch.setattr(lane.gc, "collect", lambda: 0)


def measured(clock, *medians_ms, seed):
    config = LatencyConfig(
        warmup_seconds=0, warmup_count=1, min_seconds=0, min_count=400, seed=seed
    )
    sleepers = [Sleeper(clock, median, [seed, number]) for number, median in enumerate(medians_ms)]
    return measure(sleepers, [IMAGES] * len(sleepers), config)


def test_the_median_lies_in_its_interval_as_often_as_the_interval_says(clock):
    hits = 0
    for seed in range(RUNS):
        (found,) = measured(clock, MEDIAN_MS, seed=seed)
        drawn = resampled_percentiles(found.samples_ms, [50.0], resamples=300, seed=seed)
        low, high = np.quantile(drawn[:, 0], (0.025, 0.975))
        hits += low <= MEDIAN_MS <= high
        assert high - low < 0.15 * MEDIAN_MS
    assert COVERED[0] <= hits / RUNS <= COVERED[1]


def test_the_ratio_of_two_lies_in_its_interval_as_often_as_the_interval_says(clock):
    hits = 0
    for seed in range(RUNS):
        slow, fast = measured(clock, 1.2 * MEDIAN_MS, MEDIAN_MS, seed=seed)
        ratio = paired_ratio(slow, fast, seed=seed)
        hits += ratio.low <= 1.2 <= ratio.high
        assert ratio.high - ratio.low < 0.25
    assert COVERED[0] <= hits / RUNS <= COVERED[1]


def test_percentiles_throughput_and_variation_are_those_of_the_distribution(clock):
    config = LatencyConfig(warmup_seconds=0, warmup_count=1, min_seconds=0, min_count=40_000)
    (found,) = measure([Sleeper(clock, MEDIAN_MS, 1)], [IMAGES], config)
    summary = found.summary
    normal = {"p50": 0.0, "p90": 1.2815516, "p95": 1.6448536, "p99": 2.3263479}
    for name, quantile in normal.items():
        assert getattr(summary, name) == pytest.approx(
            MEDIAN_MS * np.exp(SIGMA * quantile), rel=0.015
        )
    mean = MEDIAN_MS * np.exp(SIGMA**2 / 2)
    assert summary.mean == pytest.approx(mean, rel=0.01)
    assert summary.cv == pytest.approx(np.sqrt(np.exp(SIGMA**2) - 1), rel=0.02)
    assert found.throughput == pytest.approx(1e3 / mean, rel=0.01)


def test_single_stream_s_estimate_is_seldom_below_the_true_p90():
    true = MEDIAN_MS * np.exp(SIGMA * 1.2815516)
    config = ScenarioConfig(min_seconds=0, min_queries=300, warmup_seconds=0)
    clock = Time()
    found = [
        run_scenario(Sleeper(clock, MEDIAN_MS, seed), IMAGES, config, clock=clock).estimate_ms
        for seed in range(RUNS)
    ]
    assert np.mean([estimate >= true for estimate in found]) >= 0.97
    assert np.median(found) < 1.15 * true
