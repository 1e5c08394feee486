from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from cake_edge.errors import ArtifactError
from exporters.quantize import quantize
from exporters.quantize.config import QuantizeConfig
from exporters.quantize.graph import prepare, read_float_model
from exporters.runtimes.ort import open_inference_session, session_options


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


def test_every_node_gets_a_name_of_its_own(float_file):
    model = onnx.load(float_file)
    for node in model.graph.node[:3]:
        node.name = ""
    names = [node.name for node in prepare(model).graph.node]
    assert all(names)
    assert len(set(names)) == len(names)


def test_a_quantized_file_is_refused_with_what_makes_it_so(float_file, images, tmp_path):
    path = tmp_path / "q.onnx"
    quantize(float_file, path, images, config=QuantizeConfig(allow_noise=True, latency_seconds=0))
    with pytest.raises(ArtifactError, match=r"\d+ DequantizeLinear, \d+ QuantizeLinear"):
        read_float_model(path)


@pytest.mark.parametrize(
    "operator", ["MatMulNBits", "MatMulIntegerToFloat", "DynamicQuantizeMatMul", "QLinearConv"]
)
def test_operators_of_integers_or_of_few_bits_are_refused_too(float_file, tmp_path, operator):
    model = onnx.load(float_file)
    model.opset_import.add(domain="com.microsoft", version=1)
    node = next(node for node in model.graph.node if node.op_type == "Gemm")
    node.op_type, node.domain = operator, "com.microsoft"
    path = tmp_path / "a.onnx"
    onnx.save(model, path)
    with pytest.raises(ArtifactError, match=rf"quantized already \(1 {operator}\)"):
        read_float_model(path)


@pytest.mark.parametrize("content", [None, b"", b"no model"])
def test_what_is_not_onnx_is_refused(tmp_path, content):
    path = tmp_path / "a.onnx"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ArtifactError, match=r"a\.onnx"):
        read_float_model(path)
