import pytest
import torch
from reference import cake, scale_free

from cake_edge.losses.image_prior import total_variation, total_variation_released
from cake_edge.seeding import generator


def some_images(*shape):
    return torch.rand(shape, generator=generator(0, "images"), dtype=torch.float64)


@pytest.mark.parametrize("shape", [(2, 1, 4, 5), (3, 3, 6, 4)])
def test_both_forms_are_the_literal_ones(shape):
    images = some_images(*shape)
    assert total_variation_released(images).item() == pytest.approx(
        cake.total_variation(images.tolist())
    )
    wanted = [scale_free.total_variation(image) for image in images.tolist()]
    assert total_variation(images).tolist() == pytest.approx(wanted)


def test_enlarging_by_repeating_pixels_changes_nothing():
    images = some_images(2, 3, 6, 8)
    enlarged = images.repeat_interleave(4, 2).repeat_interleave(4, 3)
    torch.testing.assert_close(total_variation(enlarged), total_variation(images))


def test_channels_that_are_alike_count_once():
    grey = some_images(2, 1, 5, 5)
    torch.testing.assert_close(total_variation(grey.expand(-1, 3, -1, -1)), total_variation(grey))
