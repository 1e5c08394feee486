from __future__ import annotations

import numpy as np
import pytest
from reference.rounding import best_up_or_down, output_error

from exporters.quantize.reconstruct.rounding import cancel_errors, descend, factor, quadratic


@pytest.fixture(params=range(4))
def layer(request):
    """(u [2, 5, 8] in steps, inputs [2, 12, 8] that are correlated, their Gram matrices)."""
    random = np.random.default_rng(request.param)
    weights = random.uniform(-6, 6, (2, 5, 8))
    mixing = random.standard_normal((2, 8, 8)) + 1
    inputs = random.standard_normal((2, 12, 8)) @ mixing
    return weights, inputs, inputs.transpose(0, 2, 1) @ inputs / 12


def nothing_pinned(weights):
    return np.zeros(weights.shape, bool)


def both(weights, gram, most=7):
    pinned = nothing_pinned(weights)
    start = cancel_errors(weights, factor(gram), most, pinned)
    return start, descend(weights, start, gram, most, pinned)


def test_the_quadratic_form_is_the_output_error(layer):
    weights, inputs, gram = layer
    rounded = np.round(weights)
    given = quadratic(rounded - weights, gram)
    for group in range(2):
        for row in range(5):
            wanted = output_error(weights[group, row], rounded[group, row], inputs[group])
            assert given[group, row] == pytest.approx(wanted)


def test_the_found_rounding_is_near_the_best_of_all(layer):
    weights, inputs, gram = layer
    _, found = both(weights, gram)
    nearest = quadratic(np.round(weights) - weights, gram)
    given = quadratic(found - weights, gram)
    best = np.array(
        [[best_up_or_down(weights[g, r], inputs[g], 1.0, 7)[0] for r in range(5)] for g in range(2)]
    )
    # Integers farther off than up and down are allowed, so that it may even be better.
    assert given.sum() < 1.3 * best.sum()
    assert given.sum() < 0.6 * nearest.sum()


def test_cancelling_alone_beats_rounding_to_nearest(layer):
    weights, _, gram = layer
    start, _ = both(weights, gram)
    given = quadratic(start - weights, gram).sum()
    assert given < 0.6 * quadratic(np.round(weights) - weights, gram).sum()


def test_moves_never_raise_the_error_of_a_row_and_none_is_left_that_lowers_it(layer):
    weights, _, gram = layer
    start = np.round(weights)
    pinned = nothing_pinned(weights)
    found = descend(weights, start, gram, 7, pinned)
    least = quadratic(found - weights, gram)
    assert (least <= quadratic(start - weights, gram) + 1e-12).all()
    for j in range(8):
        for step in (-1, 1):
            moved = found.copy()
            moved[:, :, j] += step
            assert (quadratic(moved - weights, gram) >= least - 1e-6).all()


def test_more_columns_than_a_block_holds_are_rounded_as_well():
    random = np.random.default_rng(0)
    weights = random.uniform(-100, 100, (1, 3, 150))
    inputs = random.standard_normal((400, 150)) @ (random.standard_normal((150, 150)) + 0.5)
    gram = (inputs.T @ inputs / 400)[None]
    start, found = both(weights, gram, most=127)
    nearest, cancelled, least = (
        quadratic(each - weights, gram).sum() for each in (np.round(weights), start, found)
    )
    assert least <= cancelled < 0.3 * nearest
    lower, order = factor(gram)
    permuted = gram[0][order[0]][:, order[0]]
    np.testing.assert_allclose(lower[0] @ lower[0].T, permuted, rtol=1e-6, atol=1e-6)


def test_without_correlation_the_nearest_integer_is_the_best():
    weights = np.random.default_rng(0).uniform(-6, 6, (1, 4, 9))
    gram = np.diag(np.arange(1.0, 10.0))[None]
    start, found = both(weights, gram)
    np.testing.assert_array_equal(start, np.round(weights))
    np.testing.assert_array_equal(found, np.round(weights))


def test_no_integer_exceeds_the_largest_and_pinned_ones_stay(layer):
    weights, _, gram = layer
    pinned = np.zeros(weights.shape, bool)
    pinned[:, :, 3] = True
    start = cancel_errors(weights, factor(gram), 4, pinned)
    found = descend(weights, start, gram, 4, pinned)
    for each in (start, found):
        assert np.abs(each).max() == 4
        np.testing.assert_array_equal(each, np.round(each))
        np.testing.assert_array_equal(each[:, :, 3], np.clip(np.round(weights[:, :, 3]), -4, 4))
