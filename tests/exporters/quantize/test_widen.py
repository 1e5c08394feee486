from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from exporters.quantize.body import half_body
from exporters.quantize.judge import logits_of
from exporters.quantize.widen import widened


def shape_of(model):
    return sorted((node.op_type, node.name, *node.input, *node.output) for node in model.graph.node)


def test_the_graph_is_the_one_that_was_halved(ready):
    half = half_body(ready)
    assert any(node.op_type == "Cast" for node in half.graph.node)
    wide = widened(half)
    assert shape_of(wide) == shape_of(ready)
    assert {tensor.data_type for tensor in wide.graph.initializer} == {
        tensor.data_type for tensor in ready.graph.initializer
    }
    assert any(tensor.data_type == TensorProto.FLOAT16 for tensor in half.graph.initializer)


def test_constants_keep_the_values_that_they_had_in_half(ready, images):
    half = half_body(ready)
    wide = widened(half)
    constants = {t.name: numpy_helper.to_array(t) for t in half.graph.initializer}
    for tensor in wide.graph.initializer:
        np.testing.assert_array_equal(numpy_helper.to_array(tensor), constants[tensor.name])
    assert np.isfinite(logits_of(wide, images)).all()


def test_operators_that_stayed_in_single_precision_lose_their_casts():
    make = helper.make_node
    graph = helper.make_graph(
        [
            make("Relu", ["input"], ["x"], name="a"),
            make("Max", ["x", "input"], ["y"], name="b"),
            make("Shape", ["y"], ["n"], name="c"),
            make("Cast", ["n"], ["m"], name="d", to=TensorProto.FLOAT),
            make("ReduceSum", ["m"], ["k"], name="e"),
            make("Mul", ["y", "k"], ["logits"], name="f"),
        ],
        "g",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ("batch", 3))],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ("batch", 3))],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)])
    model.ir_version = 10
    half = half_body(model)
    assert sum(node.op_type == "Cast" for node in half.graph.node) > 3
    wide = widened(half)
    onnx.checker.check_model(wide, full_check=True)
    assert shape_of(wide) == shape_of(model)
    (cast,) = (node for node in wide.graph.node if node.op_type == "Cast")
    assert cast.attribute[0].i == TensorProto.FLOAT


def test_a_model_without_float16_is_left_as_it_is(ready):
    assert widened(ready) == ready
