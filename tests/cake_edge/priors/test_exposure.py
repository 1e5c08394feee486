import pytest
import torch

from cake_edge.priors.exposure import BRIGHTNESS, CAST, CONTRAST, colour_mixing, exposed, hardened
from cake_edge.seeding import generator


@pytest.fixture
def signals():
    return torch.randn((300, 3, 12, 12), generator=generator(0, "signals")) * 7 + 100


def test_every_picture_gets_an_exposure_of_its_own(signals):
    pixels = exposed(signals, generator(0, "x"))
    assert pixels.min() >= 0
    assert pixels.max() <= 1
    means = pixels.mean((1, 2, 3))
    spreads = (pixels - pixels.mean((2, 3), keepdim=True)).std((1, 2, 3))
    assert BRIGHTNESS[0] - CAST < means.min() < 0.35
    assert 0.65 < means.max() < BRIGHTNESS[1] + CAST
    assert spreads.min() > 0.7 * CONTRAST[0]
    assert spreads.max() < CONTRAST[1]
    assert spreads.max() > 1.5 * spreads.min()


def test_scale_and_offset_of_a_signal_do_not_matter(signals):
    one = exposed(signals, generator(0, "x"))
    other = exposed(signals * 3 - 50, generator(0, "x"))
    assert torch.allclose(one, other, atol=1e-4)


def test_a_signal_that_says_nothing_becomes_a_plain_picture():
    pixels = exposed(torch.zeros(4, 1, 8, 8), generator(0, "x"))
    assert torch.equal(pixels, pixels[:, :, :1, :1].expand_as(pixels))


def test_channels_mostly_move_together_and_not_always():
    white = torch.randn((400, 3, 500), generator=generator(0, "white"))
    mixed = torch.bmm(colour_mixing(400, 3, 3, generator(0, "x")), white)
    together = torch.stack([torch.corrcoef(picture)[0, 1] for picture in mixed])
    assert together.mean() > 0.5
    assert together.min() < 0.3
    assert together.max() > 0.99


def test_one_channel_has_no_tint():
    grey = colour_mixing(5, 1, 4, generator(0, "x"))
    assert grey.shape == (5, 1, 4)


def test_hardened_pictures_range_from_smooth_to_two_tones():
    wave = torch.sin(torch.linspace(0, 20, 400)).view(1, 1, 20, 20).expand(200, 1, 20, 20)
    hard = hardened(wave, generator(0, "x"))
    saturated = (hard.abs() > 0.95).double().mean((1, 2, 3))
    assert (saturated == 0).any()
    assert (saturated > 0.8).any()
    assert torch.equal(hard.sign(), wave.sign())
