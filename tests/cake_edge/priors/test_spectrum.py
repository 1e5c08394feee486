import pytest
import torch

from cake_edge.priors import spectrum
from cake_edge.priors.spectrum import EXPONENT, _amplitude
from cake_edge.seeding import generator


def falling(images):
    """The exponent a of 1/f^a of each image [N, H, W], by least squares over the logarithms."""
    size = images.shape[-1]
    amplitude = torch.fft.rfft2(images).abs()
    down, across = torch.fft.fftfreq(size).view(-1, 1), torch.fft.rfftfreq(size)
    frequency = torch.hypot(down, across)
    inside = (frequency > 0) & (frequency < 0.4)
    x = frequency[inside].log()
    y = amplitude[:, inside].clamp_min(1e-9).log()
    x = x - x.mean()
    return -(y * x).sum(1) / x.square().sum()


def test_amplitudes_fall_with_the_exponent_of_each_picture(spec_of):
    slopes = falling(spectrum(200, spec_of(1, 64, 64), generator(0, "x"))[:, 0])
    # Clipping at black and white, and directions, blur it: the range is there, and its middle.
    assert EXPONENT[0] - 0.4 < slopes.min() < 0.8
    assert 1.4 < slopes.max() < EXPONENT[1] + 0.4
    assert slopes.mean() == pytest.approx(sum(EXPONENT) / 2, abs=0.25)


def test_the_filter_is_the_power_law_itself_along_an_axis(spec_of):
    amplitude = _amplitude(50, spec_of(1, 64, 64), generator(0, "x"))
    assert (amplitude[:, 0, 0] == 0).all()
    # On one line through zero the stretch is a factor: twice the frequency, the same ratio.
    ratio = amplitude[:, 0, 2:9:2] / amplitude[:, 0, 1:5]
    assert torch.allclose(ratio, ratio[:, :1].expand_as(ratio), rtol=1e-4)
    exponents = -ratio[:, 0].log2()
    assert exponents.min() >= EXPONENT[0] - 1e-3
    assert exponents.max() <= EXPONENT[1] + 1e-3


def test_a_wide_picture_has_grain_as_round_as_a_square_one(spec_of):
    amplitude = _amplitude(500, spec_of(1, 32, 64), generator(0, "x")).log()
    # An eighth of a cycle a pixel, down and across; the mean over all directions.
    assert amplitude[:, 4, 0].mean() == pytest.approx(float(amplitude[:, 0, 8].mean()), abs=0.1)
