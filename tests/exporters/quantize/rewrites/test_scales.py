from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from onnx import helper, numpy_helper

from exporters.quantize.rewrites.channels import ChannelRange
from exporters.quantize.rewrites.scales import FURTHEST, channel_scales, room, weight_shares
from exporters.quantize.rewrites.walk import Walk

sides = hnp.arrays(np.float64, 6, elements=st.floats(0.01, 100))


def ranges(low, high):
    return ChannelRange(low=np.asarray(low, float), high=np.asarray(high, float))


def reader(weight):
    """A walk over one convolution, and the convolution."""
    graph = helper.make_graph(
        [helper.make_node("Conv", ["x", "w"], ["y"], group=len(weight) // weight.shape[1])]
        if weight.shape[1] == 1
        else [helper.make_node("Conv", ["x", "w"], ["y"])],
        "g",
        [],
        [],
        [numpy_helper.from_array(weight.astype(np.float32), "w")],
    )
    walk = Walk(helper.make_model(graph))
    return walk, walk.nodes


def test_the_room_of_a_channel_is_its_share_of_the_range():
    np.testing.assert_allclose(room(ranges([0, 0, 0], [8, 4, 1])), [1, 0.5, 0.125])
    np.testing.assert_allclose(room(ranges([-8, -2, 0], [8, 1, 4])), [1, 0.25, 0.5])


def test_a_short_side_common_to_all_channels_does_not_bar_them():
    silu = ranges([-0.28] * 8, [20.0, *[0.5] * 7])
    assert room(silu)[1:].max() < 0.2
    # Where only one of many channels would gain, the range is not drawn out for it.
    assert room(ranges([-0.28] * 64, [*[20.0] * 63, 0.5]))[-1] == pytest.approx(1)


def test_a_channel_that_is_always_zero_has_none_and_a_tensor_of_zeros_all():
    assert room(ranges([0, 0], [0, 3])).tolist() == [0, 1]
    assert room(ranges([0, 0], [0, 0])).tolist() == [1, 1]


@given(low=sides, high=sides)
def test_no_channel_has_more_room_than_its_tensor(low, high):
    assert room(ranges(-low, high)).max() <= 1 + 1e-12


def test_the_shares_are_those_of_the_largest_weight_in_a_row():
    blocks = np.array([[[[1.0, -4.0], [2.0, 0.0]], [[0.0, 0.0], [3.0, 3.0]]]])
    assert weight_shares(blocks).tolist() == [1.0, 1.0]
    assert weight_shares(blocks[:, :1]).tolist() == [1.0, 0.5]
    assert weight_shares(np.zeros((1, 2, 3, 1))).tolist() == [0, 0, 0]


def test_a_depthwise_channel_gets_half_the_bits_it_lacks():
    walk, nodes = reader(np.ones((3, 1, 3, 3)))
    scale = channel_scales(walk, [ranges([0, 0, 0], [16, 4, 1])], nodes)
    np.testing.assert_allclose(scale, [1, 0.5, 0.25])


def test_of_two_tensors_divided_alike_neither_grows():
    walk, nodes = reader(np.ones((2, 1, 3, 3)))
    wide, narrow = ranges([-16, -16], [16, 16]), ranges([0, 0], [16, 1])
    np.testing.assert_allclose(channel_scales(walk, [wide, narrow], nodes), [1, 1])


def test_dead_channels_and_unread_ones_keep_their_scale():
    weight = np.ones((3, 4, 1, 1))
    weight[:, 2] = 0
    walk, nodes = reader(weight)
    scale = channel_scales(walk, [ranges([0] * 4, [16, 0, 1, 1])], nodes)
    np.testing.assert_allclose(scale, [1, 1, 1, 0.25])
    dead = channel_scales(walk, [ranges([0] * 4, [0, 0, 7, 0])], nodes)
    assert dead.tolist() == [1, 1, 1, 1]


def test_channels_that_would_gain_little_are_left():
    walk, nodes = reader(np.ones((4, 1, 3, 3)))
    high = np.array([16, 9, 9, 9])
    assert channel_scales(walk, [ranges(0 * high, high)], nodes).tolist() == [1, 1, 1, 1]
    assert (channel_scales(walk, [ranges(0 * high, high / [1, 3, 3, 3])], nodes)[1:] < 0.5).all()


def test_no_channel_is_moved_further_than_the_furthest():
    walk, nodes = reader(np.ones((3, 1, 3, 3)))
    scale = channel_scales(walk, [ranges([0, 0, 0], [1e6, 1, 1e-6])], nodes)
    assert scale.tolist() == [1, 1 / FURTHEST, 1 / FURTHEST]


@given(
    high=sides,
    weight=hnp.arrays(np.float64, (5, 6, 1, 1), elements=st.floats(0.05, 1.0)),
    other=hnp.arrays(np.float64, 6, elements=st.floats(0.1, 10.0)),
)
def test_no_other_scales_leave_a_smaller_product_of_the_two_growths(high, weight, other):
    walk, nodes = reader(weight)
    rooms, shares = room(ranges(0 * high, high)), weight_shares(walk.blocks(nodes[0]))
    scale = channel_scales(walk, [ranges(0 * high, high)], nodes)

    def product(candidate):
        return (shares * candidate).max() * (rooms / candidate).max()

    assert (rooms / scale).max() <= 1 + 1e-6
    if (scale > 1 / FURTHEST).all() and (scale < FURTHEST).all() and (scale != 1).any():
        assert product(scale) <= product(other) * (1 + 1e-6)
