from __future__ import annotations

import numpy as np
import pytest
import torch

from cake_edge.errors import PoolError
from cake_edge.priors import structured
from cake_edge.seeding import generator
from exporters.quantize.feed import Feed
from exporters.quantize.noise import neighbour_correlation, require_structure


def noise(count, spec):
    return np.random.default_rng(0).standard_normal((count, *spec.input_size)).astype(np.float32)


def test_the_correlation_is_that_of_numpy():
    image = torch.rand(1, 1, 200, 200, generator=generator(0, "t")).numpy()
    image = image + np.roll(image, 1, axis=3)
    left, right = image[0, :, :, :-1].ravel(), image[0, :, :, 1:].ravel()
    # Not the same means and variances on both sides, so nearly.
    wanted = np.corrcoef(left, right)[0, 1]
    assert neighbour_correlation(image)[0] == pytest.approx(wanted, abs=0.01)


def test_noise_has_none_and_a_plain_image_all(spec):
    assert abs(np.mean(neighbour_correlation(noise(64, spec)))) < 0.02
    assert neighbour_correlation(np.ones((1, *spec.input_size), np.float32)) == [1.0]


def test_structured_images_pass_and_noise_does_not(spec):
    pictures = structured(32, spec, generator(0, "t")).numpy()
    require_structure(Feed(lambda: iter([pictures]), spec, 32), allowed=False)
    noisy = Feed(lambda: iter([noise(32, spec)]), spec, 32)
    with pytest.raises(PoolError, match="allow_noise=true"):
        require_structure(noisy, allowed=False)
    require_structure(noisy, allowed=True)


def test_a_few_noisy_images_among_pictures_pass(spec):
    mixed = np.concatenate([structured(24, spec, generator(0, "t")).numpy(), noise(8, spec)])
    require_structure(Feed(lambda: iter([mixed]), spec, 32), allowed=False)
