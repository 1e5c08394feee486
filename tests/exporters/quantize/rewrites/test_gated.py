from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from exporters.quantize.rewrites.channels import ChannelRange, observe_channels
from exporters.quantize.rewrites.gated import GATED

CHANNELS = 12


def gated(activation: nn.Module, *, unequal: bool, groups: int = CHANNELS) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        network = nn.Sequential(
            nn.Conv2d(3, CHANNELS, 3, stride=2),
            activation,
            nn.Conv2d(CHANNELS, CHANNELS, 3, groups=groups),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(CHANNELS, 4),
        )
    if unequal:
        network[0].weight.data *= torch.logspace(-1, 1.5, CHANNELS).view(-1, 1, 1, 1)
    return network


def rewritten(model, batches):
    return GATED.apply(model, observe_channels(model, GATED.tensors(model), batches))


@pytest.mark.parametrize("activation", [nn.SiLU(), nn.Hardswish()])
@pytest.mark.parametrize("groups", [1, CHANNELS])
def test_unequal_channels_become_more_equal_and_the_function_stays(
    activation, groups, made_ready, batches, values_of, spread, same_logits
):
    model = made_ready(gated(activation, unequal=True, groups=groups))
    after, places = rewritten(model, batches)
    assert places == 1
    product = next(node for node in model.graph.node if node.op_type == "Mul").output[0]
    spreads = [spread(values_of(one, batches()[0], product), 1) for one in (model, after)]
    assert spreads[1] < 0.7 * spreads[0]
    for images in (batches()[0], 50 * batches()[0]):
        same_logits(model, after, images)


def test_unequal_channels_lose_less_to_int8(made_ready, batches, decibels):
    network = gated(nn.SiLU(), unequal=True)
    # Each channel of the depthwise convolution counts as much, however wide it reads.
    network[2].weight.data /= torch.logspace(-1, 1.5, CHANNELS).view(-1, 1, 1, 1)
    model = made_ready(network)
    after, _ = rewritten(model, batches)
    images = np.concatenate(batches())
    assert decibels(after, images) > decibels(model, images) + 3


def test_the_gate_sees_what_it_saw(made_ready, batches, values_of):
    model = made_ready(gated(nn.SiLU(), unequal=True))
    after, _ = rewritten(model, batches)
    opened = next(node for node in model.graph.node if node.op_type == "Sigmoid").output[0]
    wanted, given = (values_of(one, batches()[0], opened) for one in (model, after))
    np.testing.assert_allclose(given, wanted, atol=1e-5)
    assert len(after.graph.node) == len(model.graph.node) + 1
    made = {name for node in after.graph.node for name in node.output}
    assert made <= {info.name for info in [*after.graph.value_info, *after.graph.output]}


def test_equal_channels_are_not_worth_another_operator(made_ready, batches):
    model = made_ready(gated(nn.SiLU(), unequal=False))
    after, places = rewritten(model, batches)
    assert places == 0
    assert after == model


class Squeezed(nn.Module):
    """A gate whose product also feeds a squeeze-and-excite branch."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3)
        self.excite = nn.Conv2d(8, 8, 1)
        self.last = nn.Conv2d(8, 4, 1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        middle = nn.functional.silu(self.first(images))
        scale = self.excite(middle.mean((2, 3), keepdim=True)).sigmoid()
        return self.last(middle * scale).mean((2, 3))


def test_a_product_with_another_reader_is_left_alone(made_ready):
    assert GATED.tensors(made_ready(Squeezed())) == {}


@pytest.mark.parametrize("activation", ["silu", "hard_swish"])
def test_a_whole_network_keeps_its_function(activation, timm_ready, batches, same_logits):
    model = timm_ready("test_efficientnet", act_layer=activation)
    after, places = rewritten(model, batches)
    assert places > 0
    names = [node.name for node in after.graph.node if node.name]
    assert len(names) == len(set(names))
    same_logits(model, after, batches()[0])


def test_whatever_the_scales_the_function_stays(made_ready, batches, same_logits):
    model = made_ready(gated(nn.Hardswish(), unequal=False))
    random = np.random.default_rng(0)
    for _ in range(5):
        high = np.exp(random.uniform(-6, 6, CHANNELS))
        seen = dict.fromkeys(GATED.tensors(model), ChannelRange(low=0 * high, high=high))
        after, places = GATED.apply(model, seen)
        assert places == 1
        same_logits(model, after, batches()[0])
