from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from cake_edge.errors import ArtifactError
from exporters.parity import compare
from exporters.quantize import TARGETS
from exporters.quantize.graph import float_tensors, prepare, read_float_model
from exporters.quantize.insert import rangeable_tensors, write_qdq
from exporters.quantize.judge import logits_of
from exporters.quantize.observe import observe
from exporters.quantize.ranges import tensor_ranges
from exporters.quantize.unquantize import removed_activations, stored_weights, unquantize


def model_of(nodes, constants, shape=("batch", 2, 6, 6)):
    graph = helper.make_graph(
        [helper.make_node(*ends, name=name) for name, *ends in nodes],
        "g",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)])
    model.ir_version = 10
    return onnx.shape_inference.infer_shapes(model)


@pytest.fixture(scope="module")
def ready(float_file):
    return prepare(read_float_model(float_file))


@pytest.fixture(scope="module")
def ranges(ready, images):
    names = rangeable_tensors(ready, [TARGETS["ort-x86"], TARGETS["tensorrt"]])
    found = observe(ready, names, [], images).histograms
    return {name: tensor_ranges(one, least_error=False) for name, one in found.items()}


@pytest.fixture(scope="module")
def written(ready, ranges):
    return write_qdq(ready, TARGETS["ort-x86"], ranges)


def shape_of(model):
    """What the graph computes, whatever the order of its nodes."""
    return sorted((node.op_type, node.name, *node.input, *node.output) for node in model.graph.node)


def test_the_float_graph_has_the_nodes_and_the_names_that_it_had(ready, written):
    plain = unquantize(written, removed_activations(ready, written))
    assert shape_of(plain.model) == shape_of(ready)
    assert float_tensors(plain.model) == float_tensors(ready)
    names = {tensor.name for tensor in plain.model.graph.initializer}
    assert names == {tensor.name for tensor in ready.graph.initializer}


def test_it_computes_what_the_float_model_does_but_for_its_rounded_weights(ready, written, images):
    plain = unquantize(written, removed_activations(ready, written))
    parity = compare(logits_of(ready, images), logits_of(plain.model, images))
    assert parity.sqnr_db > 25
    assert parity.max_abs > 0


def test_weights_are_what_their_integers_stand_for(written):
    plain = unquantize(written)
    constants = {t.name: numpy_helper.to_array(t) for t in plain.model.graph.initializer}
    stored = {one.name: one for one in stored_weights(written).values()}
    assert {one.integers.dtype for one in stored.values()} == {np.dtype("int8"), np.dtype("int32")}
    for name, one in stored.items():
        assert constants[name].dtype == np.float32
        step = one.along(one.scales.astype(np.float64))
        np.testing.assert_array_equal(np.round(constants[name] / step), one.integers)


def test_every_relu_that_zero_points_stood_for_is_said_and_put_back(ready, written):
    removed = removed_activations(ready, written)
    relus = {node.name for node in ready.graph.node if node.op_type == "Relu"}
    left = {node.name for node in written.graph.node if node.op_type == "Relu"}
    assert left < relus
    assert {one["name"] for one in removed} == relus - left
    assert set(unquantize(written, removed).restored) == relus - left


def test_where_nobody_said_so_a_relu_goes_where_integers_cannot_be_negative(ready, written, images):
    told = unquantize(written, removed_activations(ready, written))
    guessed = unquantize(written)
    assert len(guessed.restored) == len(told.restored)
    np.testing.assert_array_equal(logits_of(guessed.model, images), logits_of(told.model, images))


def test_nothing_is_removed_where_zero_points_are_0(ready, ranges):
    signed = write_qdq(ready, TARGETS["tensorrt"], ranges)
    assert removed_activations(ready, signed) == []
    assert unquantize(signed).restored == ()


def test_the_ends_of_a_clip_come_back():
    ready = model_of(
        [
            ("conv", "Conv", ["input", "w"], ["x"]),
            ("six", "Clip", ["x", "low", "high"], ["y"]),
            ("next", "Conv", ["y", "w"], ["logits"]),
        ],
        {
            "w": np.full((2, 2, 1, 1), 2.0, np.float32),
            "low": np.float32(0).reshape(()),
            "high": np.float32(6).reshape(()),
        },
    )
    noise = np.random.default_rng(0).standard_normal((32, 2, 6, 6)).astype(np.float32)
    histograms = observe(ready, float_tensors(ready), [], lambda: [noise]).histograms
    ranges = {name: tensor_ranges(one, least_error=False) for name, one in histograms.items()}
    written = write_qdq(ready, TARGETS["ort-x86"], ranges)
    removed = removed_activations(ready, written)
    assert removed == [
        {"name": "six", "operator": "Clip", "input": "x", "output": "y", "ends": [0.0, 6.0]}
    ]
    plain = unquantize(written, removed).model
    assert [node.op_type for node in plain.graph.node] == ["Conv", "Clip", "Conv"]
    wide = lambda: [10 * noise]  # noqa: E731
    parity = compare(*(logits_of(one, wide)[:, 0, 0] for one in (ready, plain)))
    assert parity.sqnr_db is None or parity.sqnr_db > 40


def test_what_integers_cover_becomes_a_range(ready, ranges, written):
    plain = unquantize(written)
    assert "input" in plain.ranges
    for name, found in plain.ranges.items():
        wanted = ranges[name].asymmetric
        step = (max(wanted.high, 0) - min(wanted.low, 0)) / 255
        low, high = found.asymmetric.low, found.asymmetric.high
        if name in ("max_pool2d",):  # has the scale of what it reads
            continue
        assert low == pytest.approx(min(wanted.low, 0), abs=step)
        assert high == pytest.approx(max(wanted.high, 0), abs=step)
        assert found.symmetric.high == -found.symmetric.low == max(-low, high)


def pair(name, kind=np.uint8, scale=0.1, zero=0):
    """Q and DQ on a tensor, and their constants."""
    ends = [f"{name}_s", f"{name}_z"]
    nodes = [
        (f"{name}_q", "QuantizeLinear", [name, *ends], [f"{name}_i"]),
        (f"{name}_dq", "DequantizeLinear", [f"{name}_i", *ends], [f"{name}_f"]),
    ]
    return nodes, {ends[0]: np.array(scale, np.float32), ends[1]: np.array(zero, kind)}


def test_weights_rounded_as_the_file_is_loaded_stay_as_they_are():
    nodes, constants = pair("input")
    more, others = pair("w", np.int8)
    weight = np.random.default_rng(0).standard_normal((2, 2, 1, 1)).astype(np.float32)
    model = model_of(
        [*nodes, *more, ("conv", "Conv", ["input_f", "w_f"], ["logits"])],
        {**constants, **others, "w": weight},
    )
    plain = unquantize(model).model
    assert [list(node.input) for node in plain.graph.node] == [["input", "w"]]
    np.testing.assert_array_equal(numpy_helper.to_array(plain.graph.initializer[0]), weight)


def test_an_output_that_was_quantized_keeps_its_name():
    nodes, constants = pair("x")
    nodes[1][3][0] = "logits"
    weight = np.ones((2, 2, 1, 1), np.float32)
    plain = unquantize(
        model_of([("", "Conv", ["input", "w"], ["x"]), *nodes], {**constants, "w": weight}), []
    ).model
    (node,) = plain.graph.node
    assert (node.op_type, list(node.output)) == ("Conv", ["logits"])
    # The nodes left in float are known by their names.
    assert node.name


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda n, c: n.append(("pool", "MaxPool", ["input_i"], ["p"])), "computes with the integ"),
        (lambda n, c: n.pop(0), "reads integers that no QuantizeLinear makes"),
        (lambda n, c: c.update(input_s=np.ones(2, np.float32)), "has 2 scales"),
        (lambda n, c: c.update(input_z=np.array(0, np.uint16)), "quantized to UINT16"),
        (lambda n, c: c.pop("input_s"), "computed and not stored"),
    ],
)
def test_what_cannot_be_taken_out_is_said(change, said):
    nodes, constants = pair("input")
    nodes.append(("relu", "Relu", ["input_f"], ["logits"]))
    change(nodes, constants)
    graph = helper.make_graph(
        [helper.make_node(*ends, name=name) for name, *ends in nodes],
        "g",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ("batch", 2, 6, 6))],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)])
    with pytest.raises(ArtifactError, match=said):
        unquantize(model)


def test_weights_in_blocks_are_no_weights_of_int8():
    model = model_of(
        [
            ("dq", "DequantizeLinear", ["w", "s"], ["f"]),
            ("product", "MatMul", ["input", "f"], ["logits"]),
        ],
        {"w": np.ones((6, 4), np.int8), "s": np.ones((3, 4), np.float32)},
    )
    model.graph.node[0].attribute.append(helper.make_attribute("block_size", 2))
    with pytest.raises(ArtifactError, match="a scale for each 2 values"):
        unquantize(model)
