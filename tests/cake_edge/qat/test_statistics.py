"""The match of batch statistics against the literal formula."""

from __future__ import annotations

import pytest
import torch
from reference import gdfq
from timm.layers.norm_act import BatchNormAct2d, FrozenBatchNormAct2d
from torch import nn

from cake_edge.qat.statistics import is_batch_norm, watch_statistics


def network_and_input() -> tuple[nn.Module, torch.Tensor]:
    random = torch.Generator().manual_seed(2)
    network = nn.Sequential(nn.BatchNorm2d(3), nn.ReLU(), nn.BatchNorm2d(3)).eval()
    for norm in (network[0], network[2]):
        norm.running_mean.normal_(generator=random)
        norm.running_var.uniform_(0.5, 2, generator=random)
    return network, torch.randn(4, 3, 5, 5, generator=random).requires_grad_()


def channels(inputs: torch.Tensor, norm: nn.Module) -> list[tuple[list[float], float, float]]:
    values = inputs.detach().transpose(0, 1).flatten(1).tolist()
    return list(zip(values, norm.running_mean.tolist(), norm.running_var.tolist(), strict=True))


def test_the_loss_is_that_of_the_formula():
    network, images = network_and_input()
    with watch_statistics(network) as loss:
        network(images)
        given = loss.take()
    between = network[1](network[0](images))
    wanted = gdfq.batch_norm_statistics(
        [channels(images, network[0]), channels(between, network[2])]
    )
    assert given.item() == pytest.approx(wanted, rel=1e-5)
    given.backward()
    assert images.grad.abs().sum() > 0


def test_it_is_zero_where_the_statistics_match():
    network, images = network_and_input()
    norm = network[0]
    norm.running_mean.copy_(images.detach().mean((0, 2, 3)))
    norm.running_var.copy_(images.detach().var((0, 2, 3), correction=0))
    with watch_statistics(norm) as loss:
        norm(images)
        assert loss.take().item() == pytest.approx(0, abs=1e-10)


def test_taking_it_begins_anew_and_hooks_are_gone_afterwards():
    network, images = network_and_input()
    with watch_statistics(network) as loss:
        network(images)
        loss.take()
        assert loss.take() is None
    network(images)
    assert loss.take() is None
    assert loss.layers == 2


@pytest.mark.parametrize(
    ("norm", "counts"),
    [
        (nn.BatchNorm2d(2), True),
        (nn.SyncBatchNorm(2), True),
        (BatchNormAct2d(2), True),
        (FrozenBatchNormAct2d(2), True),
        (nn.BatchNorm2d(2, track_running_stats=False), False),
        (nn.GroupNorm(1, 2), False),
        (nn.LayerNorm(2), False),
    ],
)
def test_a_norm_is_told_by_what_it_remembers(norm, counts):
    assert is_batch_norm(norm) is counts


def test_a_network_without_batch_norm_has_none_to_match():
    network = nn.Sequential(nn.Conv2d(1, 2, 1), nn.GroupNorm(1, 2))
    with watch_statistics(network) as loss:
        network(torch.zeros(1, 1, 2, 2, requires_grad=True))
        assert loss.take() is None
    assert loss.layers == 0
