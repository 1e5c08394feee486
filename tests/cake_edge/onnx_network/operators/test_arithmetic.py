"""Shape arithmetic is Python's: symbols of an export live through it."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from cake_edge.onnx_network import OnnxGraph, network_from_onnx
from cake_edge.onnx_network.operators.arithmetic import ARITHMETIC

NODE = helper.make_node
I = TensorProto.INT64  # noqa: E741
F = TensorProto.FLOAT
CONSTANTS = {
    "0": np.int64(0), "1": np.int64(1), "2": np.int64(2), "-1": np.int64(-1), "[0]": np.array([0]),
    "[1]": np.array([1]), "[2]": np.array([2]), "[3]": np.array([3]), "[4]": np.array([4]),
    "[-1]": np.array([-1]), "[1,1,1,1]": np.array([1, 1, 1, 1]), "[2,-1]": np.array([2, -1]),
    "half": np.array([0.5], np.float32), "big": np.array([2**62]), "[-9]": np.array([-9]),
    "[1,3]": np.array([1, 3]), "[2,3]": np.array([2, 3]), "true": np.array([True]),
}  # fmt: skip


def pairs(op_type, *constants, kind=I):
    return [NODE(op_type, ["s", *constants], ["z"])]


# What is made of the shape [n, 4, 6, 8] of an image, n being a symbol when exported.
CHAINS = {
    "Abs": [NODE("Neg", ["s"], ["t"]), NODE("Abs", ["t"], ["z"])],
    "Add": pairs("Add", "[2]"),
    "And": [
        NODE("Greater", ["s", "[3]"], ["t"]), NODE("And", ["t", "true"], ["u"]),
        NODE("Cast", ["u"], ["z"], to=I),
    ],
    "Cast": [NODE("Cast", ["s"], ["t"], to=F), NODE("Cast", ["t"], ["z"], to=TensorProto.INT32)],
    "Ceil": [
        NODE("Slice", ["s", "[2]", "[4]"], ["h"]), NODE("Cast", ["h"], ["t"], to=F),
        NODE("Mul", ["t", "half"], ["u"]), NODE("Ceil", ["u"], ["v"]),
        NODE("Cast", ["v"], ["z"], to=I),
    ],
    "Concat": [NODE("Concat", ["s", "[2,-1]", "s"], ["z"], axis=0)],
    "ConstantOfShape": [
        NODE("Shape", ["s"], ["t"]),
        NODE("ConstantOfShape", ["t"], ["z"], value=numpy_helper.from_array(np.array([3]))),
    ],
    "Div": pairs("Div", "[2]"),
    "Equal": [NODE("Equal", ["s", "[4]"], ["t"]), NODE("Cast", ["t"], ["z"], to=I)],
    "Floor": [
        NODE("Slice", ["s", "[2]", "[4]"], ["h"]), NODE("Cast", ["h"], ["t"], to=F),
        NODE("Mul", ["t", "half"], ["u"]), NODE("Floor", ["u"], ["v"]),
        NODE("Cast", ["v"], ["z"], to=I),
    ],
    "Gather": [NODE("Gather", ["s", "[2,-1]"], ["z"])],
    "Greater": [NODE("Greater", ["s", "[4]"], ["t"]), NODE("Cast", ["t"], ["z"], to=I)],
    "GreaterOrEqual": [
        NODE("GreaterOrEqual", ["s", "[4]"], ["t"]), NODE("Cast", ["t"], ["z"], to=I),
    ],
    "Identity": pairs("Identity"),
    "Less": [NODE("Less", ["s", "[4]"], ["t"]), NODE("Cast", ["t"], ["z"], to=I)],
    "LessOrEqual": [NODE("LessOrEqual", ["s", "[4]"], ["t"]), NODE("Cast", ["t"], ["z"], to=I)],
    "Max": [NODE("Slice", ["s", "[1]", "[4]"], ["t"]), NODE("Max", ["t", "[4]", "[-1]"], ["z"])],
    "Min": [NODE("Slice", ["s", "[1]", "[4]"], ["t"]), NODE("Min", ["t", "[4]"], ["z"])],
    "Mod": [NODE("Slice", ["s", "[1]", "[4]"], ["t"]), NODE("Mod", ["t", "[4]"], ["z"])],
    "Mul": pairs("Mul", "[2]"),
    "Neg": pairs("Neg"),
    "Not": [
        NODE("Less", ["s", "[4]"], ["t"]), NODE("Not", ["t"], ["u"]),
        NODE("Cast", ["u"], ["z"], to=I),
    ],
    "Or": [
        NODE("Less", ["s", "[4]"], ["t"]), NODE("Or", ["t", "true"], ["u"]),
        NODE("Cast", ["u"], ["z"], to=I),
    ],
    "Range": [
        NODE("Gather", ["s", "1"], ["t"]), NODE("Range", ["0", "t", "1"], ["z"]),
    ],
    "ReduceProd": [NODE("ReduceProd", ["s"], ["z"], keepdims=0)],
    "ReduceSum": [NODE("ReduceSum", ["s"], ["z"])],
    "Reshape": [NODE("Gather", ["s", "0"], ["t"]), NODE("Reshape", ["t", "[-1]"], ["z"])],
    "Shape": [NODE("Shape", ["s"], ["z"])],
    "Slice": [NODE("Slice", ["s", "[-1]", "[-9]", "[0]", "[-1]"], ["z"])],
    "Split": [NODE("Split", ["s", "[1,3]"], ["t", "z"])],
    "Sqrt": [
        NODE("Slice", ["s", "[1]", "[2]"], ["h"]), NODE("Cast", ["h"], ["t"], to=F),
        NODE("Sqrt", ["t"], ["u"]), NODE("Cast", ["u"], ["z"], to=I),
    ],
    "Squeeze": [NODE("Slice", ["s", "[0]", "[1]"], ["t"]), NODE("Squeeze", ["t", "[0]"], ["z"])],
    "Sub": pairs("Sub", "[2]"),
    "Unsqueeze": [NODE("Gather", ["s", "-1"], ["t"]), NODE("Unsqueeze", ["t", "[0]"], ["z"])],
    "Where": [NODE("Equal", ["s", "[4]"], ["t"]), NODE("Where", ["t", "[1]", "s"], ["z"])],
}  # fmt: skip
DIVISIONS = list(itertools.product((7, -7, 8, 0), (2, -2, 3)))


def model_of(nodes, shape=("n", 4, 6, 8)):
    read = {name for node in nodes for name in node.input}
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", F, shape)],
        [helper.make_empty_tensor_value_info("y")],
        [numpy_helper.from_array(v, name) for name, v in CONSTANTS.items() if name in read],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def chain(name):
    """The chain, ended so that what comes out is a tensor that the image takes part in."""
    return [
        NODE("Shape", ["x"], ["s"]),
        *CHAINS[name],
        NODE("Cast", ["z"], ["w"], to=F),
        NODE("ReduceMean", ["x"], ["m"], keepdims=0),
        NODE("Add", ["w", "m"], ["y"]),
    ]


def test_every_operator_of_the_table_is_in_a_chain():
    assert set(CHAINS) == set(ARITHMETIC)


@pytest.mark.parametrize("name", CHAINS)
def test_numbers_made_of_a_shape_are_those_of_onnx_runtime(name, answers):
    x = np.ones((3, 4, 6, 8), np.float32)
    model = model_of(chain(name))
    (wanted,) = answers(model, {"x": x})
    got = network_from_onnx(model)(torch.from_numpy(x))
    assert tuple(got.shape) == wanted.shape
    np.testing.assert_allclose(got, wanted)


@pytest.mark.parametrize("name", sorted(set(CHAINS) - {"Equal", "Where", "Greater", "Less", "Not",
    "And", "Or", "GreaterOrEqual", "LessOrEqual"}))  # fmt: skip
def test_numbers_made_of_a_shape_stay_symbols_of_an_export(name):
    network = network_from_onnx(model_of(chain(name)))
    program = torch.export.export(
        network, (torch.ones(2, 4, 6, 8),), dynamic_shapes=({0: torch.export.Dim("n")},)
    )
    for count in (2, 5):
        x = torch.ones(count, 4, 6, 8)
        torch.testing.assert_close(program.module()(x), network(x))


@pytest.mark.parametrize(("a", "b"), DIVISIONS)
def test_whole_numbers_are_divided_towards_zero(a, b, answers):
    nodes = [
        NODE("Shape", ["x"], ["s"]),
        NODE("Mul", ["s", "[0]"], ["t"]),
        NODE("Add", ["t", "a"], ["u"]),
        NODE("Div", ["u", "b"], ["z"]),
        NODE("Cast", ["z"], ["y"], to=F),
    ]
    model = model_of(nodes)
    for name, value in (("a", a), ("b", b)):
        model.graph.initializer.append(numpy_helper.from_array(np.array([value]), name))
    x = np.ones((3, 4, 6, 8), np.float32)
    (wanted,) = answers(model, {"x": x})
    assert OnnxGraph(model).run({"x": torch.from_numpy(x)})["y"].tolist() == wanted.tolist()
