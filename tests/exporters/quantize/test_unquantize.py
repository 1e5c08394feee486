from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper
from reference.graphs import model_of

from cake_edge.errors import ArtifactError
from exporters.parity import compare
from exporters.quantize.graph import float_tensors
from exporters.quantize.judge import logits_of
from exporters.quantize.removed import removed_activations
from exporters.quantize.unquantize import unquantize


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


def test_scales_that_are_nodes_are_constants_all_the_same():
    nodes, constants = pair("input")
    model = model_of([*nodes, ("relu", "Relu", ["input_f"], ["logits"])], constants)
    for tensor in list(model.graph.initializer):
        made = helper.make_node("Constant", [], [tensor.name], value=tensor)
        model.graph.node.insert(0, made)
    del model.graph.initializer[:]
    found = unquantize(model)
    assert [node.op_type for node in found.model.graph.node] == ["Relu"]
    assert found.ranges["input"].asymmetric.high == pytest.approx(25.5)
