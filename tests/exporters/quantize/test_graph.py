from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from cake_edge.errors import ArtifactError
from exporters.quantize import TARGETS
from exporters.quantize.graph import prepare, quantized_tensors, read_float_model, write_qdq
from exporters.quantize.ort_x86 import ORT_X86
from exporters.quantize.ranges import Range
from exporters.runtimes.ort import open_inference_session, session_options


@pytest.fixture(scope="module")
def ready(float_file):
    return prepare(read_float_model(float_file))


@pytest.fixture(scope="module")
def written(ready):
    return write_qdq(ready, ORT_X86, ranges_for(ready))


def ranges_for(model):
    """A range that tells the tensors after a ReLU from the rest."""
    relus = {node.output[0] for node in model.graph.node if node.op_type == "Relu"}
    return {
        name: Range(0.0 if name in relus else -4.0, 4.0, "minmax")
        for name in quantized_tensors(model, ORT_X86)
    }


def constants_of(model):
    return {one.name: numpy_helper.to_array(one) for one in model.graph.initializer}


def run(model, images):
    session = open_inference_session(model.SerializeToString(), session_options(), what="it")
    return session.run(None, {"input": images})[0]


def test_making_ready_changes_nothing_of_what_is_computed(float_file, ready, images):
    batch = next(images())
    np.testing.assert_allclose(run(ready, batch), run(onnx.load(float_file), batch), atol=1e-5)


def test_making_ready_turns_means_over_the_image_into_pooling(float_file, ready):
    def operators(model):
        return {node.op_type for node in model.graph.node}

    assert "ReduceMean" in operators(onnx.load(float_file))
    assert "ReduceMean" not in operators(ready)
    assert "GlobalAveragePool" in operators(ready)
    used = {name for node in ready.graph.node for name in node.input}
    assert {one.name for one in ready.graph.initializer} <= used
    assert {entry.domain for entry in ready.opset_import} == {""}


@pytest.mark.parametrize(("axes", "keep"), [([1, 2], 1), ([2, 3], 0), ([3], 1)])
def test_other_means_stay_what_they_are(axes, keep):
    graph = helper.make_graph(
        [helper.make_node("ReduceMean", ["input", "axes"], ["logits"], keepdims=keep)],
        "g",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ("batch", 2, 3, 3))],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.array(axes), "axes")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)])
    model.ir_version = 10
    assert [node.op_type for node in prepare(model).graph.node] == ["ReduceMean"]


def test_the_tensors_that_need_a_range_are_those_that_are_quantized(ready, written):
    names = quantized_tensors(ready, ORT_X86)
    quantized = [node.input[0] for node in written.graph.node if node.op_type == "QuantizeLinear"]
    assert sorted(quantized) == names
    assert "input" in names


def test_logits_stay_float(written):
    producer = next(node for node in written.graph.node if node.output[0] == "logits")
    assert producer.op_type == "Gemm"


def test_after_relu_zero_is_the_lowest_level_and_relu_is_gone(ready, written):
    constants, ranges = constants_of(written), ranges_for(ready)
    quantizers = [node for node in written.graph.node if node.op_type == "QuantizeLinear"]
    zeros = {node.input[0]: constants[node.input[2]] for node in quantizers}
    assert all(zero.dtype == np.uint8 for zero in zeros.values())
    relus = {name for name, chosen in ranges.items() if chosen.low == 0}
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


def test_the_product_with_a_gate_is_quantized_and_any_other_is_not():
    assert {"g", "y"} <= set(quantized_tensors(gate("Sigmoid"), ORT_X86))
    assert "g" not in quantized_tensors(gate("Tanh"), ORT_X86)


def test_a_quantized_file_is_refused_with_what_makes_it_so(written, tmp_path):
    path = tmp_path / "q.onnx"
    onnx.save(written, path)
    with pytest.raises(ArtifactError, match=r"\d+ DequantizeLinear, \d+ QuantizeLinear"):
        read_float_model(path)


@pytest.mark.parametrize("content", [None, b"", b"no model"])
def test_what_is_not_onnx_is_refused(tmp_path, content):
    path = tmp_path / "a.onnx"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ArtifactError, match=r"a\.onnx"):
        read_float_model(path)
