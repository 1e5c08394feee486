"""How rows of one benchmark relate."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cake_edge.errors import NumericsError
from exporters.latency.speedups import best_rows, speedups, unpaired_ratio


def row(samples: Any, threads: int = 1, batch: int = 1) -> dict[str, Any]:
    return {"samples_ms": samples, "threads": threads, "batch": batch}


def drifting(scale: float, rounds: int = 60) -> list[list[float]]:
    """[rounds, 3] of a machine that gets slower and slower."""
    return [[scale * (1 + i / 10)] * 3 for i in range(rounds)]


def test_each_is_compared_with_the_first_timed_of_its_setting() -> None:
    rows = [
        row(None), row(drifting(4)), row(drifting(2)), row(drifting(6), batch=4),
        row(drifting(2), batch=4), row(drifting(1), threads=2),
    ]  # fmt: skip
    found = speedups(rows, paired=True, seed=0)
    assert [each and each["estimate"] for each in found] == [None, None, 2.0, None, 3.0, None]


def test_rounds_of_one_spell_are_compared_where_models_took_turns() -> None:
    rows = [row(drifting(4)), row(drifting(2))]
    (_, paired), (_, apart) = (speedups(rows, paired=p, seed=0) for p in (True, False))
    assert paired is not None
    assert apart is not None
    # Drift that hit both is no doubt about their ratio, unless they ran one after the other.
    assert (paired["low"], paired["high"], paired["paired"]) == (2.0, 2.0, True)
    assert apart["low"] < 1.8 < 2.2 < apart["high"]
    assert apart["paired"] is False


def test_the_interval_of_independent_medians_holds_the_truth() -> None:
    random = np.random.default_rng(0)
    held = 0
    for seed in range(40):
        a = 3 * random.gamma(50, 0.02, size=(100, 5))
        b = random.gamma(50, 0.02, size=(100, 5))
        ratio = unpaired_ratio(a, b, seed=seed)
        held += ratio.low <= 3 <= ratio.high
    assert held >= 34  # of 40; 95 % would be 38


def test_a_clock_that_does_not_move_gives_no_ratio() -> None:
    with pytest.raises(NumericsError, match="too coarse"):
        unpaired_ratio(np.ones((10, 2)), np.zeros((10, 2)))


def test_the_best_setting_is_found_for_each_model_with_several() -> None:
    def timed(p50: float, rate: float) -> dict[str, Any]:
        return {"latency_ms": {"p50": p50, "images_per_second": rate}}

    rows = [timed(2, 500), timed(1, 900), timed(3, 1200), {"latency_ms": None}, timed(5, 1)]
    assert best_rows([0, 0, 0, 1, 1], rows) == [{"latency": 1, "throughput": 2}]
