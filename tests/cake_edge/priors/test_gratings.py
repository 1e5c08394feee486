import torch

from cake_edge.priors import gratings
from cake_edge.seeding import generator


def test_pictures_are_smooth_or_striped_but_no_noise(spec_of):
    images = gratings(200, spec_of(3, 64, 64), generator(0, "x"))
    down = (images[..., 1:, :] - images[..., :-1, :]).abs().mean((1, 2, 3))
    across = (images[..., 1:] - images[..., :-1]).abs().mean((1, 2, 3))
    # Waves have a direction; noise has none.
    directed = torch.maximum(down, across) > 2 * torch.minimum(down, across)
    assert directed.double().mean() > 0.2
    spread = images.std((1, 2, 3))
    assert (torch.minimum(down, across) < spread).double().mean() > 0.9


def test_few_frequencies_carry_a_picture(spec_of):
    images = gratings(200, spec_of(1, 64, 64), generator(0, "x"))
    power = torch.fft.rfft2(images - images.mean((2, 3), keepdim=True)).abs().square().flatten(1)
    ten = power.topk(10).values.sum(1) / power.sum(1).clamp_min(1e-9)
    noise = torch.rand((200, 1, 64, 64), generator=generator(0, "y")) - 0.5
    white = torch.fft.rfft2(noise).abs().square().flatten(1)
    assert ten.median() > 0.4
    assert ten.median() > 10 * (white.topk(10).values.sum(1) / white.sum(1)).median()


def test_no_wave_is_shorter_than_pixels_can_show(spec_of):
    images = gratings(300, spec_of(1, 16, 16), generator(0, "x"))
    checkered = torch.tensor([[1.0, -1.0], [-1.0, 1.0]]).repeat(8, 8)
    spread = images.std((1, 2, 3)).clamp_min(1e-6)
    assert ((images[:, 0] * checkered).mean((1, 2)).abs() / spread).max() < 0.5
