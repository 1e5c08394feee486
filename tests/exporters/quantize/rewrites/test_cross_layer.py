from __future__ import annotations

from collections import OrderedDict

import numpy as np
import onnx
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from torch import nn

from exporters.quantize.rewrites.channels import ChannelRange, observe_channels
from exporters.quantize.rewrites.cross_layer import CROSS_LAYER
from exporters.quantize.rewrites.walk import Walk

CHANNELS = 12


def chain(activation: type[nn.Module]) -> nn.Module:
    """Convolution, depthwise, grouped, and two linear layers, with `activation` between."""
    network = nn.Sequential(
        OrderedDict(
            stem=nn.Conv2d(3, CHANNELS, 3, stride=2),
            a=activation(),
            depthwise=nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1, groups=CHANNELS),
            b=activation(),
            grouped=nn.Conv2d(CHANNELS, 16, 3, stride=2, groups=4, bias=False),
            c=activation(),
            plain=nn.Conv2d(16, 8, 1),
            bare=nn.Conv2d(8, 8, 3, stride=2),
            d=activation(),
            pool=nn.AdaptiveAvgPool2d(1),
            flat=nn.Flatten(),
            one=nn.Linear(8, 16),
            e=activation(),
            two=nn.Linear(16, 4),
        )
    )
    random = torch.Generator().manual_seed(0)
    for name, values in network.named_parameters():
        if name.endswith("weight"):
            nn.init.kaiming_normal_(values, generator=random)
        else:
            nn.init.normal_(values, 0, 0.1, generator=random)
    return network


@pytest.fixture(scope="module")
def relu(made_ready):
    return made_ready(chain(nn.ReLU))


def rewritten(model, batches):
    return CROSS_LAYER.apply(model, observe_channels(model, CROSS_LAYER.tensors(model), batches))


def scrambled(model, seed):
    """The same function with channels as unequal as 100 to 1."""
    twin = onnx.ModelProto()
    twin.CopyFrom(model)
    walk = Walk(twin)
    random = np.random.default_rng(seed)
    for layer in [node for node in walk.nodes if node.op_type in ("Conv", "Gemm")]:
        relu = next(iter(walk.readers(layer.output[0])), layer)
        consumers = walk.consumers((relu if relu.op_type == "Relu" else layer).output[0])
        if consumers:
            scale = np.exp(random.uniform(-np.log(10), np.log(10), walk.outputs(layer)))
            walk.divide_outputs(layer, scale)
            walk.multiply_inputs(consumers[0], scale)
    return walk.finished()


def test_a_chain_of_relus_keeps_its_function_on_images_never_seen(relu, batches, same_logits):
    unequal = scrambled(relu, seed=1)
    after, places = rewritten(unequal, batches)
    assert places == 5
    foreign = 20 * np.random.default_rng(9).standard_normal((4, 3, 32, 32)).astype(np.float32)
    same_logits(unequal, after, foreign)


def test_the_model_given_is_left_as_it_is(relu, batches):
    unequal = scrambled(relu, seed=1)
    before = unequal.SerializeToString(deterministic=True)
    after, _ = rewritten(unequal, batches)
    assert unequal.SerializeToString(deterministic=True) == before
    assert after.SerializeToString(deterministic=True) != before
    assert after.graph.value_info == unequal.graph.value_info


@settings(
    max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    high=hnp.arrays(np.float64, 64, elements=st.floats(0, 1e4)),
    low=hnp.arrays(np.float64, 64, elements=st.floats(-1e4, 0)),
)
def test_whatever_the_ranges_the_function_stays(high, low, relu, batches, same_logits):
    seen = {
        name: ChannelRange(low=low[: len(one.low)], high=high[: len(one.low)])
        for name, one in observe_channels(relu, CROSS_LAYER.tensors(relu), batches).items()
    }
    same_logits(relu, CROSS_LAYER.apply(relu, seen)[0], batches()[0])


def test_unequal_channels_become_more_equal(relu, batches, values_of, spread):
    unequal = scrambled(relu, seed=1)
    after, _ = rewritten(unequal, batches)
    names = [node.output[0] for node in relu.graph.node if node.op_type == "Relu"][:2]
    for name in names:
        poor, better = (
            spread(values_of(model, batches()[0], name), 1) for model in (unequal, after)
        )
        assert better < 0.7 * poor


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_unequal_channels_lose_less_to_int8(relu, batches, decibels, seed):
    unequal = scrambled(relu, seed)
    after, _ = rewritten(unequal, batches)
    images = np.concatenate(batches())
    assert decibels(after, images) > decibels(unequal, images) + 2


def test_a_mobile_network_with_relu6_keeps_its_function(timm_ready, batches, same_logits):
    model = timm_ready("test_efficientnet", act_layer="relu6")
    after, places = rewritten(model, batches)
    # Behind each linear bottleneck without a residual sum there is always one.
    assert places >= 4
    for images in (batches()[0], 30 * batches()[0]):
        same_logits(model, after, images)


def capped(gain: float) -> nn.Module:
    """A depthwise convolution between two ReLU6; `gain` tells how near it comes to the cap."""
    network = chain(nn.ReLU6)
    kernel = torch.linspace(0.1, 1.0, CHANNELS).view(-1, 1, 1, 1).expand(-1, 1, 3, 3)
    network.depthwise.weight.data = gain * kernel / 9
    network.depthwise.bias.data.zero_()
    network.stem.weight.data *= torch.logspace(0, 2, CHANNELS).view(-1, 1, 1, 1)
    network.stem.bias.data.zero_()
    return network


def weights_of(model, name):
    walk = Walk(model)
    return walk.constant(next(node for node in walk.nodes if name in node.input[1]).input[1])


def test_a_relu6_whose_cap_is_out_of_reach_is_scaled(made_ready, batches, same_logits):
    model = made_ready(capped(gain=0.5))
    after, _ = rewritten(model, batches)
    given, wanted = (weights_of(one, "depthwise") for one in (after, model))
    factors = (given / wanted)[:, 0, 0, 0]
    assert factors.max() > 1.5
    # 6 is what a channel of 1.0 reaches; none of them may by the bound.
    assert (given.sum(axis=(1, 2, 3)) <= 1 + 1e-6).all()
    same_logits(model, after, batches()[0])


def test_a_relu6_that_values_exceed_is_not_moved(made_ready, batches, same_logits, values_of):
    model = made_ready(capped(gain=8.0))
    after, _ = rewritten(model, batches)
    given, wanted = (weights_of(one, "depthwise") for one in (after, model))
    reachable = wanted.sum(axis=(1, 2, 3)) > 1
    assert 0 < reachable.sum() < CHANNELS
    np.testing.assert_array_equal(given[reachable], wanted[reachable])
    # Nor the stem's: dark images do not show it, but nothing is known of its input.
    seen = observe_channels(model, CROSS_LAYER.tensors(model), lambda: [batches()[0] * 1e-3])
    after, _ = CROSS_LAYER.apply(model, seen)
    np.testing.assert_array_equal(weights_of(after, "stem"), weights_of(model, "stem"))
    same_logits(model, after, batches()[0])


class Branched(nn.Module):
    """One tensor that a convolution and something else read."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3)
        self.second = nn.Conv2d(8, 8, 1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        middle = self.first(images).relu()
        return (self.second(middle) + middle).mean((2, 3))


def test_a_tensor_with_another_reader_is_left_alone(made_ready):
    model = made_ready(Branched())
    assert CROSS_LAYER.tensors(model) == {}
    after, places = CROSS_LAYER.apply(model, {})
    assert places == 0
    assert after == model
