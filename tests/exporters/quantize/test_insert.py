from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from exporters.onnx_export import export_onnx
from exporters.quantize import TARGETS
from exporters.quantize.graph import prepare, read_float_model
from exporters.quantize.insert import rangeable_tensors, weighted_nodes, write_qdq
from exporters.quantize.ort_x86 import ORT_X86
from exporters.quantize.ranges import Range, TensorRanges
from exporters.quantize.tensorrt import TENSORRT


@pytest.fixture(scope="module")
def written(ready):
    return write_qdq(ready, ORT_X86, ranges_for(ready))


@pytest.fixture(scope="module")
def signed(ready):
    return write_qdq(ready, TENSORRT, ranges_for(ready, TENSORRT))


def ranges_for(model, dialect=ORT_X86):
    """A range that tells the tensors after a ReLU from the rest."""
    relus = {node.output[0] for node in model.graph.node if node.op_type == "Relu"}
    return {
        name: TensorRanges(
            asymmetric=Range(0.0 if name in relus else -4.0, 4.0, "minmax"),
            symmetric=Range(-5.0, 5.0, "minmax"),
        )
        for name in rangeable_tensors(model, [dialect])
    }


def constants_of(model):
    return {one.name: numpy_helper.to_array(one) for one in model.graph.initializer}


def quantizers_of(model):
    return [node for node in model.graph.node if node.op_type == "QuantizeLinear"]


def test_every_tensor_that_is_quantized_can_have_a_range(ready, written, signed):
    for dialect, model in ((ORT_X86, written), (TENSORRT, signed)):
        names = rangeable_tensors(ready, [dialect])
        assert {node.input[0] for node in quantizers_of(model)} <= names
        assert "input" in names


def test_logits_stay_float(written):
    producer = next(node for node in written.graph.node if node.output[0] == "logits")
    assert producer.op_type == "Gemm"


def test_after_relu_zero_is_the_lowest_level_and_relu_is_gone(ready, written):
    constants, ranges = constants_of(written), ranges_for(ready)
    quantizers = [node for node in written.graph.node if node.op_type == "QuantizeLinear"]
    zeros = {node.input[0]: constants[node.input[2]] for node in quantizers}
    assert all(zero.dtype == np.uint8 for zero in zeros.values())
    relus = {name for name, chosen in ranges.items() if chosen.asymmetric.low == 0}
    # What MaxPool gives keeps the scale of what it took, which comes from a ReLU.
    assert relus < {name for name, zero in zeros.items() if zero == 0} <= relus | {"max_pool2d"}
    fused = {node.input[0] for node in ready.graph.node if node.op_type == "Relu"}
    made = {name for node in written.graph.node for name in node.output}
    convolutions = {node.output[0] for node in ready.graph.node if node.op_type == "Conv"}
    assert not (fused & convolutions) & made


@pytest.mark.parametrize(("target", "largest"), [("ort-x86", 127), ("ort-x86-novnni", 64)])
def test_weights_are_int8_around_zero_with_a_scale_a_channel(ready, target, largest):
    written = write_qdq(ready, TARGETS[target], ranges_for(ready))
    constants, original = constants_of(written), constants_of(ready)
    convolutions = [node for node in ready.graph.node if node.op_type == "Conv"]
    assert convolutions
    for node in convolutions:
        name = node.input[1]
        integers, scale = constants[f"{name}_quantized"], constants[f"{name}_scale"]
        assert integers.dtype == np.int8
        assert not constants[f"{name}_zero_point"].any()
        assert scale.shape == (len(integers),)
        assert np.abs(integers.astype(int)).max() == largest
        error = integers * scale.reshape(-1, 1, 1, 1) - original[name]
        assert (np.abs(error) <= scale.reshape(-1, 1, 1, 1) * 0.51).all()


def gate(kind):
    """x * kind(x) behind a convolution."""
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["input", "w"], ["x"], name="conv"),
            helper.make_node(kind, ["x"], ["g"], name="gate"),
            helper.make_node("Mul", ["x", "g"], ["y"], name="product"),
            helper.make_node("Conv", ["y", "v"], ["z"], name="next"),
            helper.make_node("GlobalAveragePool", ["z"], ["logits"], name="pool"),
        ],
        "g",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ("batch", 1, 3, 3))],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ("batch", 2, 1, 1))],
        [
            numpy_helper.from_array(np.ones((2, 1, 1, 1), np.float32), "w"),
            numpy_helper.from_array(np.ones((2, 2, 1, 1), np.float32), "v"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)])
    model.ir_version = 10
    return onnx.shape_inference.infer_shapes(model)


def quantized_tensors(model):
    written = write_qdq(model, ORT_X86, ranges_for(model))
    return {node.input[0] for node in quantizers_of(written)}


def test_the_product_with_a_gate_is_quantized_and_any_other_is_not():
    assert {"g", "y"} <= quantized_tensors(gate("Sigmoid"))
    assert "g" not in quantized_tensors(gate("Tanh"))


CONVERTERS, PRODUCTS = KINDS = (("QuantizeLinear", "DequantizeLinear"), ("Conv", "Gemm"))


def test_for_tensorrt_every_zero_point_is_zero_and_every_bias_float(ready, signed):
    constants, original = constants_of(signed), constants_of(ready)
    seen = {kind: [node for node in signed.graph.node if node.op_type in kind] for kind in KINDS}
    assert all(seen.values())
    for node in seen[CONVERTERS]:
        zero = constants[node.input[2]]
        assert zero.dtype == np.int8
        assert not zero.any()
    for node in seen[PRODUCTS]:
        np.testing.assert_array_equal(constants[node.input[2]], original[node.input[2]])


def test_for_tensorrt_nothing_stands_between_a_convolution_and_what_follows(signed):
    producers = {name: node.op_type for node in signed.graph.node for name in node.output}
    readers = {name: node.op_type for node in signed.graph.node for name in node.input}
    for node in signed.graph.node:
        if node.op_type == "Conv":
            assert producers[node.input[0]] == producers[node.input[1]] == "DequantizeLinear"
    convolutions = [node.output[0] for node in signed.graph.node if node.op_type == "Conv"]
    # Only the convolution of a shortcut is rounded: the other summand's takes the sum in.
    assert {readers[name] for name in convolutions} == {"Relu", "Add", "QuantizeLinear"}
    assert sum(readers[name] == "QuantizeLinear" for name in convolutions) == 4


def test_for_tensorrt_one_summand_of_every_residual_sum_is_quantized(signed):
    producers = {name: node.op_type for node in signed.graph.node for name in node.output}
    sums = [node for node in signed.graph.node if node.op_type == "Add"]
    assert len(sums) == 4
    for node in sums:
        kinds = sorted(producers[name] for name in node.input)
        assert kinds == ["Conv", "DequantizeLinear"]


def attention(tmp_path):
    """A product of two activations between two with weights."""

    class Attention(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.into, self.out = torch.nn.Linear(6, 6), torch.nn.Linear(6, 4)

        def forward(self, images):
            tokens = self.into(images.flatten(2))
            return self.out((tokens @ tokens.transpose(1, 2) @ tokens).mean(dim=1))

    from cake_edge.spec import ImageSpec
    from exporters.artifact import ModelCard

    spec = ImageSpec(channels=3, height=2, width=3, mean=(0.5,) * 3, std=(0.5,) * 3, classes=4)
    card = ModelCard(architecture="attention", spec=spec, role="student", parent="0" * 64)
    export_onnx(Attention(), tmp_path / "a.onnx", card)
    return prepare(read_float_model(tmp_path / "a.onnx"))


def test_products_of_two_activations_stay_float(tmp_path):
    model = attention(tmp_path)
    constants = constants_of(model)

    def products(dialect):
        return [
            any(name in constants for name in node.input) for node in weighted_nodes(model, dialect)
        ]

    assert products(ORT_X86) == [True, True]
    assert products(TENSORRT) == [True, True]


def test_a_node_left_in_float_keeps_its_weights(ready):
    node = next(node for node in ready.graph.node if node.op_type == "Conv" and node.input[2])
    for dialect in (ORT_X86, TENSORRT):
        written = write_qdq(ready, dialect, ranges_for(ready, dialect), left_float=[node.name])
        kept = next(each for each in written.graph.node if each.name == node.name)
        np.testing.assert_array_equal(
            constants_of(written)[kept.input[1]], constants_of(ready)[node.input[1]]
        )


@pytest.mark.parametrize("dialect", [ORT_X86, TENSORRT], ids=lambda one: one.name)
def test_four_bit_weights_have_fifteen_levels_a_channel(ready, dialect):
    nodes = [node for node in ready.graph.node if node.op_type in ("Conv", "Gemm")]
    names = [node.name for node in nodes]
    written = write_qdq(ready, dialect, ranges_for(ready, dialect), four_bit=names)
    stored = {one.name: one for one in written.graph.initializer}
    original = constants_of(ready)
    for node in nodes:
        integers = stored[f"{node.input[1]}_quantized"]
        assert integers.data_type == TensorProto.INT4
        values = numpy_helper.to_array(integers).astype(np.int64)
        scale = numpy_helper.to_array(stored[f"{node.input[1]}_scale"])
        assert np.abs(values).max() == 7
        assert scale.shape == (len(values),)
        shaped = scale.reshape(-1, *[1] * (values.ndim - 1))
        assert (np.abs(values * shaped - original[node.input[1]]) <= shaped * 0.51).all()
    assert written.ByteSize() < write_qdq(ready, dialect, ranges_for(ready, dialect)).ByteSize()
