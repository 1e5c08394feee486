import pytest
import torch
from timm.layers.evo_norm import EvoNorm2dB0
from timm.layers.norm_act import BatchNormAct2d, FrozenBatchNormAct2d, SyncBatchNormAct
from torch import nn

from cake_edge.hooks import last_layer, statistics_layers, watch_input, watch_statistics


@pytest.mark.parametrize(
    "layer",
    [
        nn.BatchNorm1d(4), nn.BatchNorm2d(4), BatchNormAct2d(4), FrozenBatchNormAct2d(4),
        SyncBatchNormAct(4), EvoNorm2dB0(4),
    ],
    ids=lambda layer: type(layer).__name__,
)  # fmt: skip
def test_layers_are_told_by_what_they_remember(layer):
    assert list(statistics_layers(nn.Sequential(nn.ReLU(), layer))) == ["1"]


@pytest.mark.parametrize(
    "layer",
    [nn.GroupNorm(2, 4), nn.LayerNorm(4), nn.BatchNorm2d(4, track_running_stats=False)],
    ids=["group", "layer", "of the batch alone"],
)
def test_layers_that_remember_nothing_are_left_out(layer):
    assert statistics_layers(nn.Sequential(layer)) == {}


@pytest.mark.parametrize("kind", [BatchNormAct2d, FrozenBatchNormAct2d])
def test_it_is_the_input_that_is_measured_and_not_what_an_activation_leaves(kind):
    norm = kind(3).eval()
    images = torch.randn(4, 3, 5, 5)
    with watch_statistics(norm) as watch:
        norm(images)
        (found,) = watch.take()
    torch.testing.assert_close(found.mean, images.mean((0, 2, 3)))
    torch.testing.assert_close(found.variance, images.var((0, 2, 3), correction=0))
    assert found.remembered_mean is norm.running_mean


def test_a_layer_without_a_mean_has_its_variance():
    norm = EvoNorm2dB0(3).eval()
    with watch_statistics(norm) as watch:
        norm(torch.randn(4, 3, 5, 5))
        (found,) = watch.take()
    assert found.remembered_mean is None
    assert torch.equal(found.remembered_variance, norm.running_var)


def test_images_shown_in_parts_have_the_statistics_of_all():
    norm, images = nn.BatchNorm2d(3).eval(), torch.randn(6, 3, 4, 4) * 5 + 2
    with watch_statistics(norm) as watch:
        for part in images.split([1, 2, 3]):
            norm(part)
        (parts,) = watch.take()
        norm(images)
        (whole,) = watch.take()
    torch.testing.assert_close(parts.mean, whole.mean)
    torch.testing.assert_close(parts.variance, whole.variance)


def test_gradients_reach_the_images_and_a_look_without_them_is_not_counted():
    norm, images = nn.BatchNorm2d(3).eval(), torch.randn(4, 3, 5, 5).requires_grad_()
    with watch_statistics(norm) as watch:
        with torch.no_grad():
            norm(images)
        assert watch.take() == []
        norm(images)
        watch.take()[0].variance.sum().backward()
    assert images.grad.abs().sum() > 0


def test_hooks_are_gone_after_the_block_even_after_an_error():
    norm = nn.BatchNorm2d(3).eval()

    def fail():
        with watch_statistics(norm), watch_input(norm):
            assert norm._forward_pre_hooks
            raise ValueError("stop")

    with pytest.raises(ValueError, match="stop"):
        fail()
    assert not norm._forward_pre_hooks


def test_what_a_layer_is_given_is_seen():
    network = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    given = torch.randn(5, 3)
    with watch_input(network[1]) as seen:
        network(given)
    assert torch.equal(seen[0], network[0](given))


def test_the_last_layer_is_the_one_that_runs_last_and_not_the_one_that_is_listed_last():
    class Backwards(nn.Module):
        def __init__(self):
            super().__init__()
            self.head, self.body = nn.Linear(4, 2), nn.Linear(3, 4)

        def forward(self, given):
            return self.head(self.body(given).relu())

    network = Backwards()
    assert last_layer(network, torch.zeros(2, 3)) is network.head
    assert last_layer(nn.ReLU(), torch.zeros(2, 3)) is None
    assert not network.head._forward_pre_hooks


def test_a_convolution_of_one_by_one_can_be_the_last_layer_and_a_wider_one_cannot():
    network = nn.Sequential(nn.Conv2d(1, 4, 1), nn.Conv2d(4, 4, 3))
    assert last_layer(network, torch.zeros(1, 1, 8, 8)) is network[0]


def test_a_layer_may_be_given_its_images_by_name():
    class Named(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm = nn.BatchNorm2d(3)

        def forward(self, images):
            return self.norm(input=images)

    network, images = Named().eval(), torch.randn(4, 3, 5, 5)
    with watch_statistics(network) as watch, watch_input(network.norm) as seen:
        network(images)
        (found,) = watch.take()
    torch.testing.assert_close(found.mean, images.mean((0, 2, 3)))
    assert seen[0] is images
