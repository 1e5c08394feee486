from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from cake_edge.errors import TeacherError
from cake_edge.onnx_network import OnnxGraph, UnsupportedOnnx
from cake_edge.onnx_network.parse import NEWEST_OPSET, OLDEST_OPSET


def model_of(*nodes, opset=17, stored=(), outputs=("y",), functions=(), domains=()):
    graph = helper.make_graph(
        list(nodes),
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 3])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in stored],
    )
    opsets = [helper.make_opsetid("", opset), *(helper.make_opsetid(d, 1) for d in domains)]
    return helper.make_model(graph, opset_imports=opsets, functions=list(functions))


def refusal(*nodes, **more) -> str:
    with pytest.raises(UnsupportedOnnx) as caught:
        OnnxGraph(model_of(*nodes, **more))
    return str(caught.value)


def test_all_unknown_operators_are_named_at_once_with_their_numbers():
    said = refusal(
        helper.make_node("NonZero", ["x"], ["a"]),
        helper.make_node("NonZero", ["x"], ["b"]),
        helper.make_node("Relu", ["x"], ["c"]),
        helper.make_node("Fancy", ["a", "b", "c"], ["y"], domain="vendor.ops"),
        domains=["vendor.ops"],
    )
    assert "opset 17" in said
    assert "2 x NonZero, 1 x vendor.ops.Fancy" in said
    assert "Relu" not in said
    assert "torch.onnx.export" in said


@pytest.mark.parametrize(
    ("op_type", "domain"),
    [("QuantizeLinear", ""), ("QLinearConv", ""), ("ConvInteger", ""),
     ("DynamicQuantizeLinear", ""), ("MatMulNBits", "com.microsoft"),
     ("QLinearAdd", "com.microsoft"), ("QGemm", "com.microsoft"),
     ("MatMulIntegerToFloat", "com.microsoft")],
)  # fmt: skip
def test_a_quantized_model_is_refused_for_its_reason(op_type, domain):
    said = refusal(
        helper.make_node(op_type, ["x"], ["y"], domain=domain), domains=["com.microsoft"]
    )
    assert "rounding has no useful gradient" in said
    assert f"1 x {op_type}" in said
    assert "float model" in said


@pytest.mark.parametrize("opset", [OLDEST_OPSET - 1, NEWEST_OPSET + 1])
def test_an_opset_that_was_not_checked_is_refused(opset):
    said = refusal(helper.make_node("Relu", ["x"], ["y"]), opset=opset)
    assert f"opset {opset}; opsets {OLDEST_OPSET} to {NEWEST_OPSET}" in said


@pytest.mark.parametrize(
    "attributes", [{"value_strings": ["a"]}, {"value_string": "a"}], ids=["several", "one"]
)
def test_constants_of_text_are_refused(attributes):
    constant = helper.make_node("Constant", [], ["c"], **attributes)
    with pytest.raises(TeacherError, match="Constant"):
        OnnxGraph(model_of(constant, helper.make_node("Identity", ["c"], ["y"])))


def test_training_mode_is_refused():
    node = helper.make_node("BatchNormalization", ["x", *"ssss"], ["y"], training_mode=1)
    graph = OnnxGraph(model_of(node, stored=[("s", np.ones(3, np.float32))]))
    with pytest.raises(UnsupportedOnnx, match=r"network\.eval\(\)"):
        graph.run({"x": torch.ones(2, 3)})


def test_nodes_out_of_order_are_refused():
    nodes = [helper.make_node("Relu", ["a"], ["y"]), helper.make_node("Neg", ["x"], ["a"])]
    with pytest.raises(TeacherError, match="'a', which nothing before it gives"):
        OnnxGraph(model_of(*nodes))


def test_a_stored_tensor_whose_bytes_do_not_fit_its_shape_is_named():
    model = model_of(helper.make_node("Add", ["x", "w"], ["y"]), stored=[("w", np.float32(1))])
    model.graph.initializer[0].dims.extend([4, 2**40])
    with pytest.raises(TeacherError, match="constant 'w' of shape"):
        OnnxGraph(model)


def test_functions_of_the_model_are_inlined():
    function = helper.make_function(
        "local", "Double", ["a"], ["b"],
        [helper.make_node("Add", ["a", "a"], ["b"])], [helper.make_opsetid("", 17)],
    )  # fmt: skip
    node = helper.make_node("Double", ["x"], ["y"], domain="local")
    graph = OnnxGraph(model_of(node, functions=[function], domains=["local"]))
    assert graph.operators == {"Add": 1}
    assert graph.run({"x": torch.ones(2, 3)})["y"].tolist() == [[2.0] * 3] * 2


@pytest.mark.parametrize(
    ("attributes", "wanted"),
    [
        ({"value": numpy_helper.from_array(np.array([[1.5]], np.float64))}, [[1.5]]),
        ({"value_float": 0.5}, 0.5),
        ({"value_floats": [0.5, 1.0]}, [0.5, 1.0]),
        ({"value_int": 3}, 3),
        ({"value_ints": [3, 4]}, [3, 4]),
    ],
)
def test_every_form_of_a_constant_is_read(attributes, wanted):
    model = model_of(
        helper.make_node("Constant", [], ["c"], **attributes),
        helper.make_node("Identity", ["c"], ["y"]),
    )
    assert OnnxGraph(model).run({"x": torch.ones(2, 3)})["y"].tolist() == wanted


def test_onnx_domain_by_its_other_name_is_the_same():
    model = model_of(helper.make_node("Relu", ["x"], ["y"], domain="ai.onnx"))
    del model.opset_import[:]
    model.opset_import.append(helper.make_opsetid("ai.onnx", 12))
    assert OnnxGraph(model).operators == {"Relu": 1}


def test_an_attribute_that_is_a_graph_is_refused():
    inner = helper.make_graph([helper.make_node("Relu", ["x"], ["z"])], "inner", [], [])
    node = helper.make_node("Relu", ["x"], ["y"])
    node.attribute.append(onnx.helper.make_attribute("body", inner))
    assert "'body'" in refusal(node)


def test_a_name_that_is_not_text_is_refused():
    model = model_of(helper.make_node("Relu", ["x"], ["y"]))
    damaged = onnx.ModelProto()
    damaged.ParseFromString(model.SerializeToString().replace(b"Relu", b"R\xff\xfeu"))
    with pytest.raises(TeacherError, match="not text"):
        OnnxGraph(damaged)
