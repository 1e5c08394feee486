"""The generator's images: their shape, their bounds, their dependence on label and seed."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from cake_edge.qat.generator import ConditionalBatchNorm, ImageGenerator, draw_noise
from cake_edge.seeding import generator
from cake_edge.spec import ImageSpec

RGB = ImageSpec(channels=3, height=32, width=32, mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.4),
                classes=7)  # fmt: skip


@pytest.mark.parametrize(
    "spec",
    [
        RGB,
        ImageSpec(channels=1, height=28, width=28, mean=(0.2,), std=(0.3,), classes=3),
        replace(RGB, height=30, width=44),
        replace(RGB, height=72, width=64),
    ],
    ids=["32", "28 grey", "30x44", "72x64"],
)
def test_images_have_the_classifiers_shape_and_stay_in_its_range(spec):
    made = ImageGenerator(spec, latent=8, width=8).initialise(generator(0, "g"))
    noise, labels = draw_noise(6, made, generator(0, "n"))
    images = made(noise, labels)
    assert images.shape == (6, *spec.input_size)
    pixels = spec.denormalise(images.detach().numpy())
    assert pixels.min() >= -1e-6
    assert pixels.max() <= 1 + 1e-6
    assert pixels.max() - pixels.min() > 0.3


def test_labels_are_drawn_evenly_and_decide_the_image():
    made = ImageGenerator(RGB, latent=8, width=8).initialise(generator(0, "g")).eval()
    _, labels = draw_noise(4000, made, generator(0, "n"))
    assert torch.bincount(labels, minlength=7).min() > 450
    noise = torch.ones(1, 8)
    first, other = (made(noise, torch.tensor([label])) for label in (0, 1))
    assert (first - other).abs().max() > 0.01


def test_equal_seeds_give_equal_images():
    twins = [ImageGenerator(RGB, latent=8, width=8).initialise(generator(4, "g")) for _ in "ab"]
    images = [twin(*draw_noise(3, twin, generator(5, "n"))) for twin in twins]
    assert torch.equal(*images)


def test_a_conditional_norm_scales_by_the_label():
    norm = ConditionalBatchNorm(2, 3).eval()
    norm.gain.weight.data[1], norm.shift.weight.data[1] = torch.tensor([2.0, 3.0]), 5.0
    maps = torch.ones(2, 2, 1, 1)
    given = norm(maps, torch.tensor([0, 1])).flatten(1)
    assert given[0].tolist() == pytest.approx([1, 1], rel=1e-4)
    assert given[1].tolist() == pytest.approx([7, 8], rel=1e-4)
