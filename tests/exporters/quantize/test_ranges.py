from __future__ import annotations

import numpy as np
import pytest

from cake_edge.errors import NumericsError
from exporters.quantize.ranges import Histogram, Range, least_error_range, tensor_ranges


def histogram_of(*parts):
    histogram = Histogram("t")
    for part in parts:
        histogram.add(part)
    return histogram


def rounded(values, chosen):
    """What uint8 makes of the values: the rule of ONNX's QuantizeLinear, literally."""
    low, high = min(chosen.low, 0), max(chosen.high, 0)
    scale = (high - low) / 255
    zero = round(-low / scale)
    level = np.clip(np.round(values.astype(np.float64) / scale) + zero, 0, 255)
    return (level - zero) * scale


def error(values, chosen):
    return float(((rounded(values, chosen) - values) ** 2).mean())


def signed_error(values, reach):
    """Mean squared error of int8 with zero point 0."""
    scale = reach / 127
    level = np.clip(np.round(values.astype(np.float64) / scale), -127, 127)
    return float(((level * scale - values) ** 2).mean())


def normal(count, seed=0):
    return np.random.default_rng(seed).standard_normal(count).astype(np.float32)


@pytest.mark.parametrize("cut", [10, 2500])
def test_parts_give_nearly_the_histogram_of_the_whole(cut):
    values = np.concatenate([normal(3000), normal(2000) * 40 - 7])
    parts = histogram_of(values[:cut], values[cut:])
    assert (parts.low, parts.high) == (values.min(), values.max())
    assert parts.counts.sum() == len(values)
    edges = (np.arange(len(parts.counts) + 1) + parts.first) * parts.width
    wanted, _ = np.histogram(values, bins=edges)
    # float32 may put a value beside the edge of a bin.
    assert np.abs(parts.counts - wanted).sum() < 10
    # Never coarser than a quarter of the bins.
    assert parts.width <= (parts.high - parts.low) / len(parts.counts) * 4


def test_counting_every_other_value_sees_all_extremes():
    values = normal(5000)
    values[1234] = 99.0
    histogram = Histogram("t")
    histogram.add(values, stride=5)
    assert histogram.high == 99.0
    assert histogram.counts.sum() == 1000


def test_an_even_spread_keeps_nearly_everything_it_has_seen():
    chosen = least_error_range(histogram_of(np.linspace(-6, 6, 40_000, dtype=np.float32)))
    assert chosen.low == pytest.approx(-6, abs=0.03)
    assert chosen.high == pytest.approx(6, abs=0.03)


def test_a_far_outlier_is_clipped():
    values = np.concatenate([normal(2_000_000), np.float32([30.0])])
    chosen = least_error_range(histogram_of(values))
    assert chosen.high < 12
    assert error(values, chosen) < error(values, histogram_of(values).minmax) / 2


@pytest.mark.parametrize("seed", range(4))
def test_the_choice_is_never_worse_than_everything_seen_or_a_quantile(seed):
    random = np.random.default_rng(seed)
    values = random.standard_t(2 + seed, 50_000).astype(np.float32)
    if seed % 2:
        values = np.maximum(values, 0)
    chosen = least_error_range(histogram_of(values))
    low, high = np.quantile(values, [0.0001, 0.9999])
    for other in (Range(values.min(), values.max(), ""), Range(low, high, "")):
        assert error(values, chosen) <= error(values, other) * 1.02


def test_after_relu_the_range_starts_at_zero():
    chosen = least_error_range(histogram_of(np.maximum(normal(20_000), 0)))
    # Where the first level lies: above zero it would be moved there.
    assert 0 <= chosen.low < 0.1


def test_a_constant_tensor_has_the_range_of_its_value():
    chosen = least_error_range(histogram_of(np.full(9, 2.5, np.float32)))
    assert (chosen.low, chosen.high) == (2.5, 2.5)


@pytest.mark.parametrize("values", [(1.0, 1.0000001), (-5.0000005, -5.0), (0.0, 1e-40, 2e-40)])
def test_a_tensor_that_hardly_moves_has_the_range_of_its_values(values):
    given = np.array(values, np.float32)
    histogram = histogram_of(given, given[::-1])
    assert histogram.counts.sum() == 2 * len(given)
    found = least_error_range(histogram)
    assert found.low == pytest.approx(given.min(), abs=1e-5)
    assert found.high == pytest.approx(given.max(), abs=1e-5)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_tensor_that_is_not_finite_is_named(value):
    with pytest.raises(NumericsError, match="'t'"):
        Histogram("t").add(np.float32([0, value, 1]))


@pytest.mark.parametrize("seed", range(4))
def test_a_symmetric_range_is_never_worse_than_everything_seen_or_a_quantile(seed):
    values = np.random.default_rng(seed).standard_t(2 + seed, 50_000).astype(np.float32)
    if seed % 2:
        values = np.maximum(values, 0)
    chosen = least_error_range(histogram_of(values), symmetric=True)
    assert chosen.low == -chosen.high
    for reach in (np.abs(values).max(), np.quantile(np.abs(values), 0.9999)):
        assert signed_error(values, chosen.high) <= signed_error(values, reach) * 1.02


def test_both_ranges_of_a_tensor_come_from_the_rule_asked_for():
    histogram = histogram_of(np.concatenate([normal(1_000_000), np.float32([30.0])]))
    seen = tensor_ranges(histogram, least_error=False)
    assert seen.of(symmetric=False) == Range(histogram.low, 30.0, "minmax")
    assert seen.of(symmetric=True) == Range(-30.0, 30.0, "minmax")
    chosen = tensor_ranges(histogram, least_error=True)
    assert chosen.of(symmetric=False).high < 12
    assert chosen.of(symmetric=True).high < 12
