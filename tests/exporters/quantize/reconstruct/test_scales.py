from __future__ import annotations

import numpy as np
import pytest
from reference.rounding import best_up_or_down, requantized

from exporters.quantize.reconstruct.config import BITS
from exporters.quantize.reconstruct.rounding import quadratic
from exporters.quantize.reconstruct.scales import LARGEST, round_least_error, round_nearest


@pytest.fixture
def layer():
    """(weights [2, 6, 10], inputs [2, 15, 10], their Gram matrices)."""
    random = np.random.default_rng(5)
    weights = random.standard_normal((2, 6, 10)) * 0.1
    inputs = random.standard_normal((2, 15, 10)) @ (random.standard_normal((2, 10, 10)) + 1)
    return weights, inputs, inputs.transpose(0, 2, 1) @ inputs / 15


def error(weights, rounded, gram):
    integers, scales = rounded
    return quadratic(integers * scales[:, :, None] - weights, gram)


@pytest.mark.parametrize("bits", BITS)
def test_no_channel_is_worse_than_rounded_to_nearest(layer, bits):
    weights, _, gram = layer
    nearest = error(weights, round_nearest(weights, bits), gram)
    found = error(weights, round_least_error(weights, gram, bits), gram)
    assert (found <= nearest * (1 + 1e-9)).all()
    assert found.sum() < 0.4 * nearest.sum()


@pytest.mark.parametrize("bits", BITS)
def test_a_quantizer_finds_the_integers_and_scales_again(layer, bits):
    weights, _, gram = layer
    integers, scales = round_least_error(weights, gram, bits)
    written = (integers * scales[:, :, None]).astype(np.float32)
    for group in range(2):
        for row in range(6):
            again, scale = requantized(written[group, row], LARGEST[bits])
            assert again == integers[group, row].tolist()
            assert scale == pytest.approx(scales[group, row], rel=1e-6)


@pytest.mark.parametrize("bits", [3, 4])
def test_with_few_bits_free_scales_beat_the_best_rounding_at_the_widest(layer, bits):
    weights, inputs, gram = layer
    found = error(weights, round_least_error(weights, gram, bits), gram)
    most = LARGEST[bits]
    best = [
        best_up_or_down(row, inputs[group], np.abs(row).max() / most, most)[0]
        for group in range(2)
        for row in weights[group]
    ]
    assert found.sum() < sum(best)


def test_nearest_is_what_the_definition_says(layer):
    weights = layer[0]
    integers, scales = round_nearest(weights, 8)
    for group in range(2):
        for row in range(6):
            wanted, scale = requantized(weights[group, row], 127)
            assert integers[group, row].tolist() == wanted
            assert scales[group, row] == pytest.approx(scale)


def test_a_channel_of_zeros_stays_zero(layer):
    weights, _, gram = layer
    weights = weights.copy()
    weights[0, 2] = 0
    integers, scales = round_least_error(weights, gram, 4)
    assert not integers[0, 2].any()
    assert np.isfinite(scales).all()
    assert (scales > 0).all()
