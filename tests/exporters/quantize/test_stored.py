from __future__ import annotations

import numpy as np
import pytest
from onnx import helper
from reference.graphs import model_of

from cake_edge.errors import ArtifactError
from exporters.quantize.stored import stored_weights


def dequantized(integers, scales, zero=None, axis=None):
    """A product with a constant that is stored as integers."""
    constants = {"w_quantized": integers, "s": scales}
    constants |= {} if zero is None else {"z": zero}
    model = model_of(
        [
            ("dq", "DequantizeLinear", list(constants), ["f"]),
            ("product", "MatMul", ["input", "f"], ["logits"]),
        ],
        constants,
    )
    if axis is not None:
        model.graph.node[0].attribute.append(helper.make_attribute("axis", axis))
    return model


@pytest.mark.parametrize(
    ("scales", "zero", "axis", "wanted"),
    [
        ([0.5, 2.0], None, 0, [[1, 2], [12, 16]]),
        ([0.5, 2.0], None, 1, [[1, 8], [3, 16]]),
        ([0.5, 2.0], [1, 2], 1, [[0.5, 4], [2.5, 12]]),
        (0.5, None, None, [[1, 2], [3, 4]]),
        (0.5, 2, None, [[0, 1], [2, 3]]),
    ],
)
def test_integers_stand_for_their_steps(scales, zero, axis, wanted):
    integers = np.array([[2, 4], [6, 8]], np.int8)
    given = None if zero is None else np.array(zero, np.int8)
    found = stored_weights(dequantized(integers, np.array(scales, np.float32), given, axis))
    (weight,) = found.values()
    assert list(found) == ["f"]
    assert (weight.name, weight.stored, weight.scale) == ("w", "w_quantized", "s")
    assert weight.values().dtype == np.float32
    np.testing.assert_array_equal(weight.values(), wanted)


def test_activations_are_not_constants():
    ends = ["s", "z"]
    model = model_of(
        [
            ("q", "QuantizeLinear", ["input", *ends], ["i"]),
            ("dq", "DequantizeLinear", ["i", *ends], ["logits"]),
        ],
        {"s": np.array(0.5, np.float32), "z": np.array(0, np.uint8)},
    )
    assert stored_weights(model) == {}


def test_weights_in_blocks_are_no_weights_of_int8():
    model = model_of(
        [
            ("dq", "DequantizeLinear", ["w", "s"], ["f"]),
            ("product", "MatMul", ["input", "f"], ["logits"]),
        ],
        {"w": np.ones((6, 4), np.int8), "s": np.ones((3, 4), np.float32)},
    )
    model.graph.node[0].attribute.append(helper.make_attribute("block_size", 2))
    with pytest.raises(ArtifactError, match="a scale for each 2 values"):
        stored_weights(model)
