import pytest
import torch
from reference import synthesis
from timm.layers.evo_norm import EvoNorm2dB0
from torch import nn

from cake_edge.errors import UsageMistake
from cake_edge.hooks import watch_statistics
from cake_edge.losses.statistics import statistics_distance


def network(scale: float = 1.0) -> nn.Sequential:
    random = torch.Generator().manual_seed(2)
    made = nn.Sequential(nn.BatchNorm2d(3), nn.ReLU(), EvoNorm2dB0(3)).eval()
    made[0].running_mean.normal_(generator=random).mul_(scale)
    made[0].running_var.uniform_(0.5, 2, generator=random).mul_(scale**2)
    made[2].running_var.uniform_(0.5, 2, generator=random)
    return made


def channels(inputs, norm):
    means = getattr(norm, "running_mean", None)
    return [
        (inputs[:, c].flatten().tolist(), None if means is None else means[c].item(), v.item())
        for c, v in enumerate(norm.running_var)
    ]


def test_it_is_the_literal_formula():
    layers, images = network(), torch.randn(4, 3, 5, 5)
    with watch_statistics(layers) as watch:
        layers(images)
        given = statistics_distance(watch.take())
    between = layers[1](layers[0](images))
    wanted = synthesis.statistics_distance(
        [channels(images, layers[0]), channels(between.detach(), layers[2])]
    )
    assert given.item() == pytest.approx(wanted, rel=1e-5)


def distance(layers, images):
    with watch_statistics(layers) as watch:
        layers(images)
        return statistics_distance(watch.take())


def test_it_is_zero_where_the_statistics_are_the_remembered_ones():
    images, norm = torch.randn(8, 3, 5, 5).requires_grad_(), nn.BatchNorm2d(3).eval()
    norm.running_mean.copy_(images.detach().mean((0, 2, 3)))
    norm.running_var.copy_(images.detach().var((0, 2, 3), correction=0))
    value = distance(norm, images)
    value.backward()
    assert value.item() == pytest.approx(0, abs=1e-5)
    assert torch.isfinite(images.grad).all()


def test_scaled_activations_change_nothing():
    images = torch.randn(8, 3, 5, 5)
    one, other = network()[0], network(scale=100.0)[0]
    torch.testing.assert_close(distance(one, images), distance(other, images * 100))


def test_a_layer_that_was_constant_in_training_stays_finite():
    norm = nn.BatchNorm2d(3).eval()
    norm.running_var.zero_()
    assert torch.isfinite(distance(norm, torch.randn(4, 3, 5, 5)))


def test_layers_that_a_network_never_calls_are_said_to_be_out_of_reach():
    with pytest.raises(UsageMistake, match=r"never called while it computes .* statistics to 0"):
        statistics_distance([])
