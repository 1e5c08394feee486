from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from cake_edge.errors import UsageMistake
from exporters.quantize.reconstruct.layers import find_layers


def model_of(nodes, constants, size=("batch", 4, 8, 8)):
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, size)],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)])


def weights(*shape):
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def one(node, constants):
    (layer,) = find_layers(model_of([node], constants), None)
    return layer


def test_a_convolution_is_read_with_all_its_attributes():
    node = helper.make_node(
        "Conv",
        ["input", "w", "b"],
        ["logits"],
        name="conv",
        group=2,
        strides=[2, 1],
        dilations=[1, 2],
        pads=[0, 1, 2, 3],
    )
    layer = one(node, {"w": weights(6, 2, 3, 5), "b": weights(6)})
    patches = layer.patches
    assert (patches.groups, patches.kernel, patches.strides) == (2, (3, 5), (2, 1))
    assert (patches.dilations, patches.pads, patches.source) == ((1, 2), (0, 1, 2, 3), "input")
    assert (layer.bias, layer.obstacle) == ("b", None)


@pytest.mark.parametrize(
    ("node", "shape", "transposed"),
    [
        (helper.make_node("Gemm", ["input", "w"], ["logits"], name="n", transB=1), (5, 3), False),
        (helper.make_node("Gemm", ["input", "w"], ["logits"], name="n"), (3, 5), True),
        (helper.make_node("MatMul", ["input", "w"], ["logits"], name="n"), (3, 5), True),
    ],
)
def test_matrices_have_a_row_an_output_and_are_stored_as_they_were(node, shape, transposed):
    weight = weights(*shape)
    layer = one(node, {"w": weight})
    matrix = layer.matrix(weight)
    np.testing.assert_array_equal(matrix, (weight.T if transposed else weight)[None])
    np.testing.assert_array_equal(layer.stored(matrix, weight.shape), weight)


def test_the_weight_of_a_grouped_convolution_is_parted_by_group():
    weight = weights(6, 2, 3, 3)
    node = helper.make_node("Conv", ["input", "w"], ["logits"], name="conv", group=2)
    layer = one(node, {"w": weight})
    matrix = layer.matrix(weight)
    assert matrix.shape == (2, 3, 18)
    np.testing.assert_array_equal(matrix[1, 0], weight[3].ravel())
    np.testing.assert_array_equal(layer.stored(matrix, weight.shape), weight)


def test_the_bias_of_a_matrix_product_is_what_is_added_to_it():
    product = helper.make_node("MatMul", ["input", "w"], ["y"], name="n")
    added = helper.make_node("Add", ["b", "y"], ["logits"])
    constants = {"w": weights(3, 5), "b": weights(5)}
    assert find_layers(model_of([product, added], constants), None)[0].bias == "b"
    twice = helper.make_node("Add", ["y", "y"], ["z"])
    assert find_layers(model_of([product, added, twice], constants), None)[0].bias is None


def test_a_bias_that_something_else_uses_is_not_the_layers_own():
    nodes = [
        helper.make_node("Conv", ["input", "w", "b"], ["y"], name="one"),
        helper.make_node("Conv", ["y", "v", "b"], ["logits"], name="two"),
    ]
    constants = {"w": weights(4, 4, 1, 1), "v": weights(4, 4, 1, 1), "b": weights(4)}
    assert [layer.bias for layer in find_layers(model_of(nodes, constants), None)] == [None, None]


@pytest.mark.parametrize(
    ("node", "shape", "reason"),
    [
        (
            helper.make_node("Conv", ["input", "w"], ["logits"], auto_pad="SAME_UPPER"),
            (4, 4, 3, 3),
            "auto_pad is SAME_UPPER",
        ),
        (helper.make_node("Conv", ["input", "w"], ["logits"]), (4, 4, 3), "over 1 axes"),
        (helper.make_node("Gemm", ["input", "w"], ["logits"], alpha=2.0), (3, 5), "it scales"),
    ],
)
def test_what_cannot_be_reconstructed_says_why(node, shape, reason):
    layer = one(node, {"w": weights(*shape)})
    assert reason in layer.obstacle
    assert not layer.shared


def test_a_weight_used_twice_is_shared():
    nodes = [
        helper.make_node("MatMul", ["input", "w"], ["y"], name="one"),
        helper.make_node("MatMul", ["y", "w"], ["logits"], name="two"),
    ]
    layers = find_layers(model_of(nodes, {"w": weights(8, 8)}), None)
    assert [layer.shared for layer in layers] == [True, True]
    assert "used 2 times" in layers[0].obstacle


def test_products_of_two_activations_are_no_layers():
    nodes = [
        helper.make_node("MatMul", ["input", "input"], ["y"], name="attention"),
        helper.make_node("MatMul", ["w", "y"], ["logits"], name="from_the_left"),
    ]
    assert find_layers(model_of(nodes, {"w": weights(8, 8)}), None) == []


def test_nodes_are_chosen_by_name_and_a_wrong_name_is_refused():
    nodes = [
        helper.make_node("MatMul", ["input", "w"], ["y"], name="first"),
        helper.make_node("MatMul", ["y", "v"], ["logits"], name="second"),
    ]
    model = model_of(nodes, {"w": weights(8, 8), "v": weights(8, 8)})
    assert [layer.name for layer in find_layers(model, ["second"])] == ["second"]
    assert find_layers(model, []) == []
    with pytest.raises(UsageMistake, match=r"'secnd' .*did you mean second"):
        find_layers(model, ["secnd"])
