from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from exporters.quantize.restore import restored


def chain(value):
    """A convolution, a product and the sum that is its bias; every constant is `value`."""
    constants = {"w": (2, 1, 1, 1), "b": (2,), "m": (4, 3), "s": (3,)}
    nodes = [
        helper.make_node("Conv", ["input", "w", "b"], ["x"], name="conv"),
        helper.make_node("Flatten", ["x"], ["f"], name="flat"),
        helper.make_node("MatMul", ["f", "m"], ["p"], name="product"),
        helper.make_node("Add", ["p", "s"], ["logits"], name="sum"),
    ]
    stored = [
        numpy_helper.from_array(np.full(shape, value, np.float32), name)
        for name, shape in constants.items()
    ]
    ends = [
        helper.make_tensor_value_info("input", TensorProto.FLOAT, ("n", 1, 1, 2)),
        helper.make_tensor_value_info("logits", TensorProto.FLOAT, ("n", 3)),
    ]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], stored)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)])


def values(model):
    return {one.name: float(numpy_helper.to_array(one).max()) for one in model.graph.initializer}


def test_a_node_gets_back_its_own_constants_and_no_other_does():
    found = restored(chain(2.0), chain(1.0), ["conv"])
    assert values(found) == {"w": 1.0, "b": 1.0, "m": 2.0, "s": 2.0}


def test_the_sum_behind_a_product_is_its_bias():
    found = restored(chain(2.0), chain(1.0), ["product"])
    assert values(found) == {"w": 2.0, "b": 2.0, "m": 1.0, "s": 1.0}


def test_the_model_given_is_left_alone():
    model = chain(2.0)
    before = model.SerializeToString()
    restored(model, chain(1.0), ["conv", "product"])
    assert model.SerializeToString() == before
    onnx.checker.check_model(model)
