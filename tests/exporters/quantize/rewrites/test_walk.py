from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from exporters.quantize.rewrites.walk import Walk


def model_of(nodes, constants, channels=4, outputs=("logits",)):
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ("batch", channels, 5, 5))],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        [
            numpy_helper.from_array(np.asarray(one, np.float32), name)
            for name, one in constants.items()
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)])
    model.ir_version = 10
    return onnx.shape_inference.infer_shapes(model)


def conv(source, weight, output, *bias, group=1):
    return helper.make_node("Conv", [source, weight, *bias], [output], name=output, group=group)


@pytest.fixture
def random():
    return np.random.default_rng(0)


@pytest.mark.parametrize(("group", "outputs"), [(1, 6), (2, 6), (4, 4), (4, 8)])
def test_inputs_divided_and_weights_multiplied_cancel(group, outputs, random, values_of):
    weight = random.standard_normal((outputs, 4 // group, 3, 3))
    model = model_of([conv("input", "w", "logits", group=group)], {"w": weight})
    images = random.standard_normal((2, 4, 5, 5)).astype(np.float32)
    wanted = values_of(model, images)
    scale = np.array([0.5, 2.0, 4.0, 0.25])
    walk = Walk(model)
    walk.multiply_inputs(walk.nodes[0], scale)
    divided = images / scale.reshape(1, -1, 1, 1).astype(np.float32)
    np.testing.assert_allclose(values_of(walk.finished(), divided), wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("transposed", [0, 1])
def test_a_gemm_is_scaled_whichever_way_its_weight_lies(transposed, random, values_of):
    weight = random.standard_normal((3, 100) if transposed else (100, 3))
    nodes = [
        helper.make_node("Flatten", ["input"], ["flat"], name="flat"),
        helper.make_node("Gemm", ["flat", "w", "b"], ["logits"], name="g", transB=transposed),
    ]
    model = model_of(nodes, {"w": weight, "b": [1.0, 2.0, 3.0]})
    images = random.standard_normal((2, 4, 5, 5)).astype(np.float32)
    wanted = values_of(model, images)
    walk = Walk(model)
    gemm = walk.layer("logits")
    assert gemm is not None
    walk.divide_outputs(gemm, np.array([2.0, 4.0, 8.0]))
    walk.multiply_inputs(gemm, np.full(100, 0.5))
    given = values_of(walk.finished(), 2 * images)
    np.testing.assert_allclose(given, wanted / [2, 4, 8], rtol=1e-4, atol=1e-5)


def test_a_weight_that_two_nodes_share_is_changed_for_one_of_them(random):
    weight = random.standard_normal((4, 4, 1, 1))
    nodes = [conv("input", "w", "first"), conv("first", "w", "logits")]
    walk = Walk(model_of(nodes, {"w": weight}))
    walk.divide_outputs(walk.nodes[0], np.full(4, 2.0))
    first, second = walk.nodes
    assert first.input[1] != second.input[1] == "w"
    np.testing.assert_allclose(walk.constant(first.input[1]), np.float32(weight / 2), rtol=1e-6)
    np.testing.assert_array_equal(walk.constant("w"), np.float32(weight))


def test_what_reads_a_tensor_is_a_consumer_only_if_all_readers_are(random):
    weights = {name: random.standard_normal((4, 4, 1, 1)) for name in "abc"}
    nodes = [
        conv("input", "a", "x"),
        conv("x", "b", "left"),
        conv("x", "c", "right"),
        helper.make_node("Add", ["left", "right"], ["logits"], name="add"),
    ]
    walk = Walk(model_of(nodes, weights))
    assert [node.name for node in walk.consumers("x")] == ["left", "right"]
    assert walk.consumers("left") == []
    assert Walk(model_of(nodes, weights, outputs=("logits", "x"))).consumers("x") == []


def test_a_weight_that_is_computed_is_no_weight(random):
    nodes = [conv("input", "a", "x"), helper.make_node("MatMul", ["x", "x"], ["logits"], name="m")]
    walk = Walk(model_of(nodes, {"a": random.standard_normal((4, 4, 1, 1))}))
    assert walk.consumers("x") == []
    assert walk.layer("logits") is None
    assert walk.layer("x") is not None


def test_a_gemm_that_also_scales_is_left_alone():
    nodes = [
        helper.make_node("Flatten", ["input"], ["flat"], name="flat"),
        helper.make_node("Gemm", ["flat", "w"], ["logits"], name="g", alpha=0.5),
    ]
    assert Walk(model_of(nodes, {"w": np.ones((100, 3))})).layer("logits") is None


def test_names_are_never_given_twice():
    walk = Walk(model_of([conv("input", "w", "logits")], {"w": np.ones((4, 4, 1, 1))}))
    assert walk.fresh("new") == "new"
    assert walk.fresh("new") == "new_2"
    assert walk.fresh("logits") == "logits_2"
