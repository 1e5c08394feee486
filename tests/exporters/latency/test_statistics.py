from __future__ import annotations

import numpy as np
import pytest
from reference import statistics as reference

from cake_edge.errors import NumericsError, UsageMistake
from exporters.latency.statistics import (
    bootstrap_median,
    doubts,
    paired_ratio,
    stability,
    summarise,
)


def test_percentiles_are_nearest_rank() -> None:
    shuffled = np.random.default_rng(0).permutation(np.arange(1.0, 201.0))
    found = summarise(shuffled)
    # ceil(q n)-th smallest of 1..200, counted by hand.
    assert (found.p50, found.p90, found.p95, found.p99) == (100.0, 180.0, 190.0, 198.0)


def test_summary_agrees_with_numpy() -> None:
    samples = np.random.default_rng(1).lognormal(0.3, 0.4, size=5000)
    found = summarise(samples)
    assert found.count == 5000
    assert found.mean == pytest.approx(np.mean(samples))
    assert found.std == pytest.approx(np.std(samples, ddof=1))
    assert found.cv == pytest.approx(np.std(samples, ddof=1) / np.mean(samples))
    assert found.minimum == samples.min()
    assert found.maximum == samples.max()
    for q, value in ((50, found.p50), (90, found.p90), (95, found.p95), (99, found.p99)):
        assert value in samples
        assert value == pytest.approx(np.percentile(samples, q), rel=0.01)


def test_p99_is_trusted_only_with_ten_samples_beyond_it() -> None:
    assert not summarise(np.ones(999)).p99_reliable
    assert summarise(np.ones(1000)).p99_reliable


def test_one_sample_has_no_spread() -> None:
    found = summarise(np.array([2.5]))
    assert (found.std, found.cv, found.p99) == (0.0, 0.0, 2.5)


@pytest.mark.parametrize("samples", [[], [1.0, np.nan], [1.0, np.inf], [-1.0]])
def test_samples_that_are_no_latencies_are_refused(samples: list[float]) -> None:
    with pytest.raises(NumericsError, match="latency samples"):
        summarise(np.array(samples))


def test_paired_comparison_sees_through_noise_that_hits_both() -> None:
    random = np.random.default_rng(2)
    mood = 1 + np.abs(np.cumsum(random.normal(0, 0.2, size=400)))
    fast = mood * random.uniform(0.99, 1.01, size=400)
    slow = 2 * mood * random.uniform(0.99, 1.01, size=400)
    ratio = paired_ratio(slow, fast)
    assert ratio.low < 2 < ratio.high
    assert ratio.high - ratio.low < 0.02


def test_paired_ratio_of_a_model_with_itself_is_one() -> None:
    samples = np.random.default_rng(3).uniform(1, 2, size=50)
    found = paired_ratio(samples, samples)
    assert (found.estimate, found.low, found.high) == (1.0, 1.0, 1.0)


def test_bootstrap_is_decided_by_its_seed() -> None:
    samples = np.random.default_rng(4).normal(5, 1, size=120)
    assert bootstrap_median(samples, seed=7) == bootstrap_median(samples, seed=7)
    assert bootstrap_median(samples, seed=7) != bootstrap_median(samples, seed=8)


def test_interval_covers_the_median_about_as_often_as_it_says() -> None:
    random = np.random.default_rng(5)
    hits = 0
    for trial in range(200):
        found = bootstrap_median(random.exponential(size=60), seed=trial, resamples=300)
        hits += found.low <= np.log(2) <= found.high
    assert 0.88 <= hits / 200 <= 1.0


def test_dependent_samples_widen_the_interval() -> None:
    random = np.random.default_rng(6)
    walk = np.repeat(random.normal(size=50), 8)
    shuffled = random.permutation(walk)
    dependent, independent = bootstrap_median(walk), bootstrap_median(shuffled)
    assert dependent.high - dependent.low > 1.3 * (independent.high - independent.low)


def test_unequal_lengths_cannot_be_paired() -> None:
    with pytest.raises(UsageMistake, match="3 and 4 rounds"):
        paired_ratio(np.ones(3), np.ones(4))


def test_ratio_to_zero_is_refused() -> None:
    with pytest.raises(NumericsError, match="zero"):
        paired_ratio(np.ones(3), np.array([1.0, 0.0, 1.0]))


def test_steady_samples_with_rare_spikes_are_stable() -> None:
    samples = np.random.default_rng(7).normal(1.0, 0.01, size=500)
    samples[::50] = 9.0
    found = stability(samples)
    assert not found.unstable
    assert found.spread is not None
    assert found.spread < 0.02
    assert len(found.medians) == 10


def test_a_median_that_moves_is_unstable() -> None:
    samples = np.concatenate([np.full(300, 1.0), np.full(200, 1.3)])
    found = stability(samples)
    assert found.unstable
    assert found.spread == pytest.approx(0.3)


def test_few_samples_cannot_be_called_stable() -> None:
    found = stability(np.ones(29))
    assert found.unstable
    assert found.spread is None


@pytest.mark.parametrize("size", [1, 2, 7, 100, 333])
def test_percentiles_and_variation_agree_with_their_definitions(size):
    samples = np.random.default_rng(size).lognormal(0.0, 1.0, size=size)
    found = summarise(samples)
    for percent, value in ((50, found.p50), (90, found.p90), (95, found.p95), (99, found.p99)):
        assert value == reference.nearest_rank(samples.tolist(), percent)
    if size > 1:
        assert found.cv == pytest.approx(reference.coefficient_of_variation(samples.tolist()))


def test_the_bootstrap_is_that_over_all_resamples():
    samples = np.array([3.0, 1.0, 4.0, 1.5, 5.0, 9.0, 2.6])
    every = np.array(reference.every_block_median(samples.tolist(), block=2))
    found = bootstrap_median(samples, resamples=20_000, confidence=0.8)
    assert found.estimate == reference.median(samples.tolist())
    # Of so few values the ends are samples, and the same ones.
    assert (found.low, found.high) == tuple(np.quantile(every, (0.1, 0.9)))


def test_what_settled_late_is_told_from_what_never_does():
    warming = stability(np.repeat([2.0, 1.6, 1.3, 1.1, 1, 1, 1, 1, 1, 1], 20))
    assert (warming.unstable, warming.settled) == (True, True)
    leaping = stability(np.repeat([1, 1, 1, 1, 1, 1, 1, 1.0, 1.5, 1.0], 20))
    assert (leaping.unstable, leaping.settled) == (True, False)
    steady = stability(np.ones(200))
    assert (steady.unstable, steady.settled) == (False, True)
    assert not stability(np.ones(29)).settled


def said_of(samples):
    return " | ".join(doubts(summarise(samples), stability(samples)))


def test_doubts_name_what_is_wrong_and_nothing_else():
    assert said_of(np.random.default_rng(8).normal(1.0, 0.01, size=1000)) == ""
    assert said_of(np.ones(999)) == "p99 rests on fewer than ten of 999 calls"
    assert "too few to tell" in said_of(np.ones(29))
    assert "warm up longer" in said_of(np.repeat([1.2, 1, 1, 1, 1, 1, 1, 1, 1, 1.0], 100))
    assert "other work" in said_of(np.repeat([1, 1, 1, 1, 1, 1, 1, 1, 1.2, 1.0], 100))
    scattered = said_of(np.random.default_rng(9).normal(1.0, 0.05, size=1000))
    assert scattered.startswith("calls scatter by 5 % of their mean, over 2.5 %")
