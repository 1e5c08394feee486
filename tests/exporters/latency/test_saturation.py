from __future__ import annotations

import numpy as np
import pytest
from reference.sweeps import is_saturated

from cake_edge.errors import NumericsError, UsageMistake
from exporters.latency.saturation import saturated


@pytest.mark.parametrize(
    ("throughputs", "expected"),
    [
        ([], False),
        ([100], False),
        ([100, 101], False),
        ([100, 101, 102], True),
        ([100, 150, 152], False),
        ([100, 150, 152, 153], True),
        ([100, 150, 90, 151], True),
        ([100, 150, 90, 170], False),
        ([100, 104, 108.5], True),
        ([100, 105, 110.25], False),
    ],
)
def test_two_steps_without_five_percent_more_than_the_best_end_a_sweep(throughputs, expected):
    assert saturated(throughputs) is expected


def test_agrees_with_a_walk_through_the_sweep():
    random = np.random.default_rng(0)
    answers = set()
    for _ in range(2000):
        growth = random.choice([0.9, 1.0, 1.03, 1.1, 1.7], size=random.integers(1, 9))
        throughputs = (100 * np.cumprod(growth)).tolist()
        gain, times = float(random.choice([0.0, 0.02, 0.05, 0.2])), int(random.integers(1, 4))
        # A gain that meets the limit exactly is a matter of rounding, and of no sweep's end.
        expected = is_saturated(throughputs, gain - 1e-9, times)
        if expected == is_saturated(throughputs, gain + 1e-9, times):
            assert saturated(throughputs, gain, times) is expected
            answers.add(expected)
    assert answers == {True, False}


@pytest.mark.parametrize("bad", [0.0, -1.0, float("nan"), float("inf")])
def test_what_is_no_throughput_is_refused(bad):
    with pytest.raises(NumericsError, match="images a second"):
        saturated([100.0, bad])


def test_settings_out_of_range_are_refused():
    with pytest.raises(UsageMistake, match="gain"):
        saturated([1.0], gain=-0.1)
    with pytest.raises(UsageMistake, match="times"):
        saturated([1.0], times=0)
