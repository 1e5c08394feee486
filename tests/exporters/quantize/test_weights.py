from __future__ import annotations

import copy

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationMethod, QDQQuantizer, QuantType
from onnxruntime.quantization.calibrate import TensorsData

from exporters.quantize.weights import channel_axis, scale_by_channel

RANDOM = np.random.default_rng(0)
OPERATORS = ["Conv", "ConvTranspose", "Gemm", "MatMul"]


def network(*, bias=0.1):
    """A convolution, a transposed one, a Gemm of either form and a MatMul."""
    weights = {
        "conv_w": RANDOM.normal(size=(6, 2, 3, 3)),
        "conv_b": RANDOM.normal(size=6) * bias,
        "up_w": RANDOM.normal(size=(6, 4, 2, 2)),
        "up_b": RANDOM.normal(size=4) * bias,
        "plain_w": RANDOM.normal(size=(256, 10)),
        "plain_b": RANDOM.normal(size=10) * bias,
        "turned_w": RANDOM.normal(size=(5, 10)),
        "product_w": RANDOM.normal(size=(5, 3)),
    }
    weights["conv_w"][2] = 0
    nodes = [
        helper.make_node("Conv", ["x", "conv_w", "conv_b"], ["a"], "conv", pads=[1, 1, 1, 1]),
        helper.make_node("ConvTranspose", ["a", "up_w", "up_b"], ["b"], "up", strides=[2, 2]),
        helper.make_node("Flatten", ["b"], ["c"], "flat"),
        helper.make_node("Gemm", ["c", "plain_w", "plain_b"], ["d"], "plain"),
        helper.make_node("Gemm", ["d", "turned_w"], ["e"], "turned", transB=1),
        helper.make_node("MatMul", ["e", "product_w"], ["y"], "product"),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 2, 4, 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 3])],
        [numpy_helper.from_array(v.astype(np.float32), k) for k, v in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    return onnx.shape_inference.infer_shapes(model)


def quantized(model, *, per_channel, reduced=False, high=4.0):
    """ONNX Runtime's own result."""
    low, high = np.array(-1, np.float32), np.array(high, np.float32)
    table = dict.fromkeys(("x", "a", "b", "c", "d", "e", "y"), (low, high))
    quantizer = QDQQuantizer(
        copy.deepcopy(model),
        per_channel=per_channel,
        reduce_range=reduced,
        weight_qType=QuantType.QInt8,
        activation_qType=QuantType.QUInt8,
        tensors_range=TensorsData(CalibrationMethod.MinMax, table),
        nodes_to_quantize=[],
        nodes_to_exclude=[],
        op_types_to_quantize=OPERATORS,
        extra_options={},
    )
    quantizer.quantize_model()
    return quantizer.model.model


@pytest.mark.parametrize("reduced", [False, True])
@pytest.mark.parametrize("bias", [0.1, 1e8])
def test_gives_the_bytes_of_onnx_runtimes_quantizer(reduced, bias):
    model = network(bias=bias)
    wanted = quantized(model, per_channel=True, reduced=reduced)
    given = quantized(model, per_channel=False, reduced=reduced)
    assert given.SerializeToString(deterministic=True) != wanted.SerializeToString(
        deterministic=True
    )
    scale_by_channel(given, model, bits=7 if reduced else 8)
    assert given.SerializeToString(deterministic=True) == wanted.SerializeToString(
        deterministic=True
    )


def test_a_bias_beyond_int32_makes_its_channels_scale_larger():
    model = network(bias=1e8)
    given = quantized(model, per_channel=False)
    scale_by_channel(given, model, bits=8)
    stored = {one.name: numpy_helper.to_array(one) for one in given.graph.initializer}
    weights = {one.name: numpy_helper.to_array(one) for one in model.graph.initializer}
    fitting = np.abs(weights["conv_w"]).max(axis=(1, 2, 3)) / 127
    assert (stored["conv_w_scale"] > 10 * fitting)[[0, 1, 3, 4, 5]].all()
    found = stored["conv_b_quantized"] * stored["conv_b_quantized_scale"].astype(np.float64)
    np.testing.assert_allclose(found, weights["conv_b"], rtol=1e-3)


def test_four_bits_are_left_alone():
    model = network()
    given = quantized(model, per_channel=False)
    stored = next(one for one in given.graph.initializer if one.name == "conv_w_quantized")
    narrow = helper.make_tensor(stored.name, TensorProto.INT4, stored.dims, bytes(54), raw=True)
    stored.CopyFrom(narrow)
    scale_by_channel(given, model, bits=8)
    assert stored == narrow


@pytest.mark.parametrize(
    ("operator", "attributes", "axis"),
    [
        ("Conv", {}, 0),
        ("ConvTranspose", {}, 1),
        ("Gemm", {"transB": 1}, 0),
        ("Gemm", {"transB": 0}, 1),
        ("Gemm", {}, 1),
        ("MatMul", {}, 1),
    ],
)
def test_output_channels_lie_where_the_operator_has_them(operator, attributes, axis):
    assert channel_axis(helper.make_node(operator, ["x", "w"], ["y"], **attributes)) == axis
