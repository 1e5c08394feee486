from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from torch import nn

from exporters.quantize.rewrites.channels import ChannelRange, observe_channels
from exporters.quantize.rewrites.layer_norm import LAYER_NORM


@pytest.fixture(scope="module")
def vit(timm_ready):
    return timm_ready("test_vit", img_size=32)


def rewritten(model, batches):
    return LAYER_NORM.apply(model, observe_channels(model, LAYER_NORM.tensors(model), batches))


def test_a_vision_transformer_keeps_its_function(vit, batches, same_logits):
    after, places = rewritten(vit, batches)
    # Two in each of six blocks; the last one's output is cut before the classifier.
    assert places == 12
    assert [node.op_type for node in after.graph.node] == [node.op_type for node in vit.graph.node]
    same_logits(vit, after, 30 * batches()[0])


def test_its_normalised_channels_become_more_equal(vit, batches, values_of, spread):
    after, _ = rewritten(vit, batches)
    for name in LAYER_NORM.tensors(vit):
        spreads = [spread(values_of(one, batches()[0], name), -1) for one in (vit, after)]
        assert spreads[1] < 0.8 * spreads[0]


def test_channels_last_of_four_axes_are_found(timm_ready, batches, same_logits):
    model = timm_ready("test_convnext")
    after, places = rewritten(model, batches)
    assert places >= 6
    same_logits(model, after, batches()[0])


@settings(
    max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(reach=hnp.arrays(np.float64, 64, elements=st.floats(0, 1e4)))
def test_whatever_the_ranges_the_function_stays(reach, vit, batches, same_logits):
    seen = dict.fromkeys(LAYER_NORM.tensors(vit), ChannelRange(low=-reach, high=reach / 2))
    same_logits(vit, LAYER_NORM.apply(vit, seen)[0], batches()[0])


class Read(nn.Module):
    """A normalised tensor that a linear layer reads, and perhaps a sum."""

    def __init__(self, *, bias: bool, summed: bool) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(3 * 32 * 32, bias=bias)
        self.linear = nn.Linear(3 * 32 * 32, 4)
        self.summed = summed

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        normal = self.norm(images.flatten(1) * torch.arange(3072.0))
        logits = self.linear(normal)
        return logits + normal[:, :4] if self.summed else logits


def test_a_norm_without_a_bias_before_a_gemm_is_scaled(made_ready, batches, same_logits):
    model = made_ready(Read(bias=False, summed=False))
    after, places = rewritten(model, batches)
    assert places == 1
    same_logits(model, after, batches()[0])


def test_a_norm_with_another_reader_is_left_alone(made_ready):
    assert LAYER_NORM.tensors(made_ready(Read(bias=True, summed=True))) == {}
