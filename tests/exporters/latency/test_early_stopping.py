from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from reference.binomial import most_over

from cake_edge.errors import NumericsError, UsageMistake
from exporters.latency.early_stopping import allowed_over, percentile_bound, queries_needed


@pytest.mark.parametrize(
    ("share", "confidence"), [("0.9", "0.99"), ("0.5", "0.95"), ("0.97", "0.9")]
)
def test_the_count_allowed_is_that_of_exact_sums(share, confidence):
    for tries in (1, 10, 43, 44, 63, 64, 65, 150, 400):
        expected = most_over(tries, Fraction(share), Fraction(confidence))
        found = allowed_over(tries, float(share), confidence=float(confidence))
        assert found == expected, tries


def test_the_fewest_queries_are_those_of_mlperf():
    # What LoadGen prints for single-stream, and mlperf.conf's min_query_count of multi-stream.
    assert queries_needed(0.90) == 64
    assert queries_needed(0.99) == 662
    assert allowed_over(662, 0.99) == 1
    assert allowed_over(661, 0.99) == 0


def test_many_queries_approach_the_percentile_itself():
    # MLPerf's rules, number of queries for 99 % confidence: 270 336 for p99, margin 0.05 %.
    allowed = allowed_over(270_336, 0.99)
    assert 0.99 <= 1 - allowed / 270_336 <= 0.9905


def test_the_bound_drops_all_but_one_of_the_calls_allowed():
    samples = np.random.default_rng(0).permutation(np.arange(1.0, 1001.0))
    allowed = allowed_over(1000, 0.99)
    assert allowed == 2
    assert percentile_bound(samples, 0.99) == 999.0


def test_too_few_calls_bound_nothing():
    assert percentile_bound(np.ones(661), 0.99) is None
    assert percentile_bound(np.ones(662), 0.99) == 1.0
    assert percentile_bound(np.array([]), 0.99) is None


def test_the_bound_holds_as_often_as_it_says():
    random = np.random.default_rng(1)
    true = -np.log(0.1)
    found = [
        percentile_bound(random.exponential(size=200), 0.9, confidence=0.9) for _ in range(2000)
    ]
    share = np.mean([bound >= true for bound in found])
    # At least the 90 % asked for; discarding one call less than allowed costs some sharpness.
    assert 0.89 <= share <= 0.97
    assert np.median(found) < 1.5 * true


def test_what_is_no_share_is_refused():
    with pytest.raises(UsageMistake, match="share is 99"):
        percentile_bound(np.ones(10), 99)
    with pytest.raises(UsageMistake, match="confidence is 1"):
        queries_needed(0.9, confidence=1.0)
    with pytest.raises(NumericsError, match="NaN"):
        percentile_bound(np.full(100, np.nan), 0.9)
