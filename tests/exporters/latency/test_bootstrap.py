from __future__ import annotations

import numpy as np
import pytest

from exporters.latency.bootstrap import BLOCKS, percentile, resampled_percentiles
from exporters.latency.statistics import Samples, summarise


def noise(rounds: int, burst: int = 5, seed: int = 0) -> Samples:
    return np.random.default_rng(seed).lognormal(size=(rounds, burst))


def literal(samples: Samples, share: float, resamples: int, seed: int) -> list[float]:
    """Blocks of rounds put one behind another, and the percentile of all their calls."""
    rounds = len(samples)
    block = max(1, round(rounds / BLOCKS))
    starts = np.random.default_rng(seed).integers(0, rounds, size=(resamples, -(-rounds // block)))
    found = []
    for row in starts:
        drawn = [(start + step) % rounds for start in row for step in range(block)][:rounds]
        values = samples[drawn]
        found.append(
            values.mean() if share == 0 else np.percentile(values, share, method="inverted_cdf")
        )
    return found


@pytest.mark.parametrize("rounds", [1, 7, 20, 53, 200])
@pytest.mark.parametrize("share", [0.0, 10.0, 50.0, 99.0])
def test_resamples_are_those_of_the_literal_bootstrap(rounds: int, share: float) -> None:
    samples = noise(rounds)
    found = resampled_percentiles(samples, [share], resamples=40, seed=3)[:, 0]
    assert found == pytest.approx(literal(samples, share, 40, 3), rel=1e-12)


def test_percentiles_are_those_of_the_summary() -> None:
    samples = noise(150)
    told = summarise(samples)
    assert [percentile(samples, share) for share in (50, 90, 95, 99)] == [
        told.p50, told.p90, told.p95, told.p99,
    ]  # fmt: skip
    assert percentile(samples, 0) == pytest.approx(told.mean)


def test_long_measurements_are_resampled_in_parts() -> None:
    samples = noise(3000, burst=100)
    found = resampled_percentiles(samples, [50.0], resamples=20, seed=0)[:, 0]
    assert found.shape == (20,)
    assert found == pytest.approx(percentile(samples, 50), rel=0.05)
    assert len(set(found)) > 10


def test_a_spell_of_other_work_widens_the_interval() -> None:
    steady, spells = np.ones((200, 5)), np.ones((200, 5))
    steady[::2] = 2.0
    spells[:100] = 2.0
    width = [
        np.ptp(np.quantile(resampled_percentiles(s, [0.0], resamples=500, seed=1), (0.025, 0.975)))
        for s in (steady, spells)
    ]
    assert width[1] > 3 * width[0]
