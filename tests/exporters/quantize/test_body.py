from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto

from cake_edge.errors import ArtifactError
from exporters.quantize import TARGETS
from exporters.quantize.body import HALF_OPSET, half_body
from exporters.quantize.insert import write_qdq
from exporters.quantize.judge import logits_of
from exporters.quantize.widen import widened


def types_of(model):
    """Element types of constants and of what lies between nodes, by name."""
    known = onnx.shape_inference.infer_shapes(model, strict_mode=True).graph
    between = {info.name: info.type.tensor_type.elem_type for info in known.value_info}
    return between | {constant.name: constant.data_type for constant in known.initializer}


@pytest.fixture(scope="module")
def halved(ready, ranges):
    return half_body(write_qdq(ready, TARGETS["tensorrt"], ranges))


def test_all_that_is_not_integer_is_float16_between_float32_ports(halved):
    inside = {
        kind
        for node in halved.graph.node
        if node.op_type != "Cast"
        for name in node.output
        if (kind := types_of(halved).get(name)) is not None
    }
    assert inside == {TensorProto.FLOAT16, TensorProto.INT8}
    for port in (*halved.graph.input, *halved.graph.output):
        assert port.type.tensor_type.elem_type == TensorProto.FLOAT


def test_scales_are_of_the_type_of_what_they_scale(halved):
    types = types_of(halved)
    scales = {node.input[1] for node in halved.graph.node if node.op_type == "DequantizeLinear"}
    assert {types[name] for name in scales} == {TensorProto.FLOAT16}


def test_it_computes_what_it_did_but_for_float16_s_rounding(ready, images):
    found, wanted = logits_of(widened(half_body(ready)), images), logits_of(ready, images)
    np.testing.assert_allclose(found, wanted, atol=0.02 * np.abs(wanted).max())


def test_the_model_that_was_given_stays(ready):
    before = ready.SerializeToString()
    half_body(ready)
    assert ready.SerializeToString() == before


def of_opset(model, version):
    older = onnx.ModelProto.FromString(model.SerializeToString())
    next(entry for entry in older.opset_import if entry.domain == "").version = version
    return older


def test_a_quantized_model_of_an_opset_without_float16_scales_is_refused(ready, ranges):
    signed = of_opset(write_qdq(ready, TARGETS["tensorrt"], ranges), HALF_OPSET - 1)
    with pytest.raises(ArtifactError, match=r"opset 18, .* needs opset 19\. .*cake-edge export"):
        half_body(signed)
