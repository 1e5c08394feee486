from __future__ import annotations

import numpy as np
import onnx
import pytest
from reference.graphs import model_of

from cake_edge.errors import ArtifactError
from exporters.parity import compare
from exporters.quantize import TARGETS
from exporters.quantize.graph import float_tensors
from exporters.quantize.insert import write_qdq
from exporters.quantize.judge import logits_of
from exporters.quantize.observe import observe
from exporters.quantize.ranges import tensor_ranges
from exporters.quantize.removed import put_back, removed_activations
from exporters.quantize.unquantize import unquantize


def test_every_relu_that_zero_points_stood_for_is_said_and_put_back(ready, written):
    removed = removed_activations(ready, written)
    relus = {node.name for node in ready.graph.node if node.op_type == "Relu"}
    left = {node.name for node in written.graph.node if node.op_type == "Relu"}
    assert left < relus
    assert {one["name"] for one in removed} == relus - left
    assert set(unquantize(written, removed).restored) == relus - left


def test_where_nobody_said_so_a_relu_goes_where_integers_cannot_be_negative(ready, written, images):
    told = unquantize(written, removed_activations(ready, written))
    guessed = unquantize(written)
    assert len(guessed.restored) == len(told.restored)
    np.testing.assert_array_equal(logits_of(guessed.model, images), logits_of(told.model, images))


def test_nothing_is_removed_where_zero_points_are_0(ready, ranges):
    signed = write_qdq(ready, TARGETS["tensorrt"], ranges)
    assert removed_activations(ready, signed) == []
    assert unquantize(signed).restored == ()


def test_the_ends_of_a_clip_come_back():
    ready = model_of(
        [
            ("conv", "Conv", ["input", "w"], ["x"]),
            ("six", "Clip", ["x", "low", "high"], ["y"]),
            ("next", "Conv", ["y", "w"], ["logits"]),
        ],
        {
            "w": np.full((2, 2, 1, 1), 2.0, np.float32),
            "low": np.float32(0).reshape(()),
            "high": np.float32(6).reshape(()),
        },
    )
    noise = np.random.default_rng(0).standard_normal((32, 2, 6, 6)).astype(np.float32)
    histograms = observe(ready, float_tensors(ready), [], lambda: [noise]).histograms
    ranges = {name: tensor_ranges(one, least_error=False) for name, one in histograms.items()}
    written = write_qdq(ready, TARGETS["ort-x86"], ranges)
    removed = removed_activations(ready, written)
    assert removed == [
        {"name": "six", "operator": "Clip", "input": "x", "output": "y", "ends": [0.0, 6.0]}
    ]
    plain = unquantize(written, removed).model
    assert [node.op_type for node in plain.graph.node] == ["Conv", "Clip", "Conv"]
    found = (logits_of(one, lambda: [10 * noise])[:, 0, 0] for one in (ready, plain))
    parity = compare(*found)
    assert parity.sqnr_db is None or parity.sqnr_db > 40


def test_an_end_that_bounds_nothing_is_none_and_json_can_hold_it():
    ready = model_of(
        [
            ("conv", "Conv", ["input", "w"], ["x"]),
            ("clip", "Clip", ["x", "low", "high"], ["logits"]),
        ],
        {
            "w": np.ones((2, 2, 1, 1), np.float32),
            "low": np.array(0, np.float32),
            "high": np.array(np.inf, np.float32),
        },
    )
    without = onnx.ModelProto()
    (one,) = removed_activations(ready, without)
    assert one["ends"] == [0.0, None]


@pytest.mark.parametrize("damage", [[{"name": "relu"}], ["relu"], [None], 3])
def test_a_damaged_account_is_said(written, damage):
    with pytest.raises(ArtifactError, match="damaged"):
        put_back(written, damage)
