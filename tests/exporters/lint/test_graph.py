"""A graph answers who makes a tensor, who reads it, and how it is quantized."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from exporters.lint.graph import Graph, label


def graph_of(parts: Any, output: str, **settings: Any) -> Graph:
    return Graph(parts.model(output, **settings), "tensorrt")


def test_weights_and_activations_are_told_apart(parts: Any) -> None:
    source = parts.quantized("x", "act")
    graph = graph_of(parts, parts.conv(source, parts.weight((8, 3, 3, 3), "w")))
    assert [label(node) for node in graph.on_activations()] == ["act.q", "act.dq"]
    assert [label(node) for node in graph.weighted()] == ["conv"]


def test_a_weight_may_be_stored_in_float_and_rounded_by_q_and_dq(parts: Any) -> None:
    source = parts.quantized("x", "act")
    weight = parts.quantized(parts.constant("w", np.ones((8, 3, 3, 3))), "w8")
    graph = graph_of(parts, parts.conv(source, weight))
    assert [label(node) for node in graph.on_activations()] == ["act.q", "act.dq"]
    assert [label(node) for node in graph.weighted()] == ["conv"]


def test_a_product_of_two_activations_has_no_weight(parts: Any) -> None:
    graph = graph_of(parts, parts.node("MatMul", "x", "x"))
    assert graph.weighted() == []


@pytest.mark.parametrize(
    ("stated", "kind"),
    [(np.int8, TensorProto.INT8), (np.uint8, TensorProto.UINT8), (None, TensorProto.UINT8)],
)
def test_the_zero_point_says_the_type_and_uint8_is_the_rest(
    parts: Any, stated: Any, kind: int
) -> None:
    result = parts.quantized("x", "act", kind=stated or np.int8)
    if stated is None:
        for node in parts.nodes:
            del node.input[2]
    graph = graph_of(parts, result)
    assert {graph.integer_type(node) for node in graph.quantizers()} == {kind}


def test_a_type_may_be_an_attribute(parts: Any) -> None:
    stored = parts.node(
        "QuantizeLinear", "x", parts.constant("s", 0.1), output_dtype=int(TensorProto.INT8)
    )
    graph = graph_of(parts, parts.node("DequantizeLinear", stored, "s"), opset=21)
    assert {graph.integer_type(node) for node in graph.quantizers()} == {TensorProto.INT8}


def test_an_output_is_read_from_outside(parts: Any) -> None:
    first = parts.node("Neg", "x")
    graph = graph_of(parts, first)
    assert graph.only_reader(graph.producers[first]) is not None
    graph.outputs.add(first)
    assert graph.only_reader(graph.producers[first]) is None


def test_nodes_within_nodes_and_functions_are_found(parts: Any) -> None:
    inner = helper.make_graph(
        [helper.make_node("Det", ["x"], ["d"])],
        "inner",
        [],
        [helper.make_tensor_value_info("d", TensorProto.FLOAT, None)],
    )
    parts.constant("true", True, np.bool_)
    model = parts.model(parts.node("If", "true", then_branch=inner, else_branch=inner))
    model.functions.append(
        helper.make_function(
            "ours",
            "f",
            ["a"],
            ["b"],
            [helper.make_node("Unique", ["a"], ["b"])],
            [helper.make_opsetid("", 17)],
        )
    )
    operators = {node.op_type for node in Graph(model, "tensorrt").every_node()}
    assert operators == {"If", "Det", "Identity", "Unique"}


def test_constants_as_nodes_and_damaged_ones(parts: Any) -> None:
    value = onnx.numpy_helper.from_array(np.float32(0.5), "value")
    parts.nodes.append(helper.make_node("Constant", [], ["scale"], value=value))
    parts.constant("broken", np.ones(4))
    parts.weights[-1].raw_data = b"\x00"
    graph = graph_of(parts, parts.node("Mul", "x", "scale"))
    assert graph.values("scale") == 0.5
    assert graph.values("broken") is None
    assert graph.values("x") is None


def test_a_node_without_a_name_is_called_by_what_it_makes() -> None:
    assert label(helper.make_node("Conv", ["x"], ["y"])) == "Conv -> y"
    assert label(helper.make_node("Conv", ["x"], ["y"], name="first")) == "first"
