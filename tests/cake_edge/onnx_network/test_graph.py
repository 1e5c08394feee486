from __future__ import annotations

import copy
import time
from multiprocessing.reduction import ForkingPickler

import numpy as np
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from cake_edge.errors import TeacherError
from cake_edge.onnx_network import OnnxGraph, network_from_onnx

RANDOM = np.random.default_rng(1)


def floats(*shape: int):
    return RANDOM.standard_normal(shape, dtype=np.float32)


def model_of(nodes, stored, shape=("n", 3, 6, 6)):
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in stored.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])


def classifier():
    """A convolution, a BatchNorm, and a head reached by the shape arithmetic of old exporters."""
    node = helper.make_node
    nodes = [
        node("Conv", ["x", "conv.weight", "conv/bias"], ["a"], pads=[1, 1, 1, 1]),
        node("BatchNormalization", ["a", "s", "b", "mean", "var"], ["c"]),
        node("Shape", ["c"], ["shape"]),
        node("Gather", ["shape", "zero"], ["rows"]),
        node("Unsqueeze", ["rows", "axes"], ["row"]),
        node("Concat", ["row", "rest"], ["flat"], axis=0),
        node("Reshape", ["c", "flat"], ["d"]),
        node("Transpose", ["head"], ["turned"], perm=[1, 0]),
        node("MatMul", ["d", "turned"], ["e"]),
        node("Add", ["e", "val_0"], ["y"]),
    ]
    stored = {
        "conv.weight": floats(4, 3, 3, 3), "conv/bias": floats(4), "s": floats(4), "b": floats(4),
        "mean": floats(4), "var": np.abs(floats(4)) + 0.5, "zero": np.int64(0),
        "axes": np.array([0]), "rest": np.array([-1]), "head": floats(5, 144), "val_0": floats(5),
        "unread": floats(9),
    }  # fmt: skip
    return model_of(nodes, stored)


def test_weights_are_parameters_and_statistics_buffers():
    graph = OnnxGraph(classifier())
    parameters = {name for name, _ in graph.named_parameters()}
    assert parameters == {
        f"constants.{name}" for name in ("conv_weight", "conv_bias", "s", "b", "turned", "val_0")
    }
    buffers = {name for name, _ in graph.named_buffers()}
    assert buffers == {"like", "constants.mean", "constants.var"}
    assert set(graph.state_dict()) == parameters | {"constants.mean", "constants.var"}
    assert not any(p.requires_grad for p in graph.parameters())


def test_operators_and_norm_layers_are_counted():
    graph = OnnxGraph(classifier())
    assert graph.operators["Conv"] == graph.operators["Transpose"] == graph.batch_norm_count == 1


@pytest.mark.parametrize(
    "twin",
    [
        copy.deepcopy,
        lambda network: ForkingPickler.loads(bytes(ForkingPickler.dumps(network))),
        lambda network: network.to(memory_format=torch.channels_last),
        lambda network: network.double().float(),
        lambda network: torch.export.export(
            network, (torch.zeros(2, 3, 6, 6),), dynamic_shapes=({0: torch.export.Dim("n")},)
        ).module(),
    ],
    ids=["copied", "sent to a process", "channels last", "moved", "exported"],
)
def test_it_is_a_module_like_any_other(twin):
    network = network_from_onnx(classifier())
    x = torch.from_numpy(floats(3, 3, 6, 6))
    wanted = network(x)
    torch.testing.assert_close(twin(network)(x), wanted)


def test_state_can_be_loaded_into_another():
    one, other = OnnxGraph(classifier()), OnnxGraph(classifier())
    for parameter in other.parameters():
        parameter.data.zero_()
    other.load_state_dict(one.state_dict())
    x = {"x": torch.from_numpy(floats(1, 3, 6, 6))}
    assert torch.equal(one.run(x)["y"], other.run(x)["y"])


def test_names_that_become_the_same_stay_apart():
    stored = {"a.b": floats(3, 1, 1), "a/b": floats(3, 1, 1), "forward": floats(1), "7": floats(1),
              "": floats(1)}  # fmt: skip
    names = ["x", "a.b", "a/b", "forward", "7"]
    graph = OnnxGraph(model_of([helper.make_node("Sum", names, ["y"])], stored))
    wanted = {"like", *(f"constants.{n}" for n in ("a_b", "a_b_2", "forward_2", "constant_7"))}
    assert {name for name, _ in graph.named_buffers()} == wanted


def test_a_missing_input_is_named():
    with pytest.raises(TeacherError, match="'x' is missing"):
        OnnxGraph(classifier()).run({})


def test_an_operator_that_fails_is_named_with_the_reason():
    with pytest.raises(TeacherError, match=r"Conv 'a' cannot be computed.*channels"):
        OnnxGraph(classifier()).run({"x": torch.zeros(1, 2, 6, 6)})


def test_intermediate_values_are_let_go():
    nodes = [helper.make_node("Exp", [f"v{i}" if i else "x"], [f"v{i + 1}"]) for i in range(5)]
    nodes.append(helper.make_node("Relu", ["v5"], ["y"]))
    steps = OnnxGraph(model_of(nodes, {}))._steps
    assert [step.done_with for step in steps] == [("x",), *((f"v{i}",) for i in range(1, 6))]


BIG = np.array([2**20, 2**20])
HOSTILE = {
    "a constant": ([helper.make_node("ConstantOfShape", ["s"], ["c"])], {"s": BIG}),
    "expanded": ([helper.make_node("Expand", ["w", "s"], ["c"])], {"s": BIG, "w": floats(1, 1)}),
    "tiled": ([helper.make_node("Tile", ["w", "s"], ["c"])], {"s": BIG, "w": floats(2, 2)}),
    "counted": (
        [helper.make_node("Range", ["o", "s", "i"], ["c"])],
        {"o": np.int64(0), "s": np.int64(2**60), "i": np.int64(1)},
    ),
    "padded": (
        [helper.make_node("Pad", ["w", "s"], ["c"])],
        {"w": floats(1, 1), "s": np.array([2**20, 2**20, 0, 0])},
    ),
    "resized": (
        [helper.make_node("Resize", ["w", "", "", "s"], ["c"])],
        {"w": floats(1, 1), "s": BIG},
    ),
    "one hot": (
        [helper.make_node("OneHot", ["i", "s", "w"], ["c"])],
        {"i": np.arange(100), "s": np.int64(2**50), "w": floats(2)},
    ),
    "squared": (
        [helper.make_node("MatMul", ["v", "u"], ["c"])],
        {"v": floats(20000, 1), "u": floats(1, 20000)},
    ),
    "doubled": (
        [
            helper.make_node("Concat", [f"k{i}", f"k{i}"], [f"k{i + 1}"], axis=0) for i in range(60)
        ] + [helper.make_node("Identity", ["k60"], ["c"])],
        {"k0": np.arange(8)},
    ),
    "multiplied": (
        [helper.make_node("Mul", [f"k{i}", f"k{i}"], [f"k{i + 1}"]) for i in range(60)]
        + [helper.make_node("ConstantOfShape", ["k60"], ["c"])],
        {"k0": np.array([3])},
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", HOSTILE)
def test_a_small_file_cannot_ask_for_much_memory_at_load(what):
    nodes, stored = HOSTILE[what]
    nodes = [*nodes, helper.make_node("Mul", ["x", "c"], ["y"])]
    started = time.monotonic()
    with pytest.raises(TeacherError, match=r"asked for|more than|64 bits"):
        OnnxGraph(model_of(nodes, stored))
    assert time.monotonic() - started < 5


@pytest.mark.parametrize(
    "node",
    [
        helper.make_node("ConvTranspose", ["x", "w"], ["y"], strides=[3000, 3000]),
        helper.make_node("Conv", ["x", "w"], ["y"], pads=[30000] * 4),
        helper.make_node("MaxPool", ["x"], ["y"], kernel_shape=[1, 1], pads=[0, 0, 2**40, 2**40]),
        helper.make_node("Upsample", ["x", "r"], ["y"]),
    ],
    ids=lambda node: node.op_type,
)
def test_a_small_file_cannot_ask_for_much_memory_of_an_image(node):
    stored = {"w": floats(3, 3, 1, 1), "r": np.array([1, 1, 1e5, 1e5], np.float32)}
    model = model_of([node], stored)
    if node.op_type == "Upsample":
        model.opset_import[0].version = 9
    with pytest.raises(TeacherError, match=r"asked for|too much memory"):
        network_from_onnx(model)


def test_scales_are_read_without_computing_anything():
    stored = {"scales": np.array([1, 1, 2, 0.5], np.float32)}
    node = helper.make_node("Resize", ["x", "", "scales"], ["y"], mode="linear")
    network = network_from_onnx(model_of([node], stored))
    program = torch.export.export(
        network, (torch.zeros(2, 3, 6, 6),), dynamic_shapes=({0: torch.export.Dim("n")},)
    )
    assert program.module()(torch.zeros(5, 3, 6, 6)).shape == (5, 3, 12, 3)


def test_many_large_values_together_are_too_much():
    nodes = [helper.make_node("Relu", [f"v{i}" if i else "x"], [f"v{i + 1}"]) for i in range(249)]
    nodes.append(helper.make_node("Relu", ["v249"], ["y"]))
    with pytest.raises(TeacherError, match="too much memory"):
        network_from_onnx(model_of(nodes, {}, (1, 3, 5000, 5000)))
