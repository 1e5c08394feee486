"""The output that tells classes is found among several, or all are named."""

from __future__ import annotations

import pytest
from onnx import TensorProto, helper

from cake_edge.errors import TeacherError
from cake_edge.teachers.onnx_port import answer_name, image_input, image_port

MAP = helper.make_sequence_type_proto(
    helper.make_map_type_proto(
        TensorProto.STRING, helper.make_tensor_type_proto(TensorProto.FLOAT, None)
    )
)


def model(outputs, nodes=(), kind=TensorProto.FLOAT, given=("N", 3, 16, 16)):
    ports = [
        helper.make_value_info(name, shape)
        if not isinstance(shape, tuple)
        else helper.make_tensor_value_info(name, shape[0], shape[1])
        for name, shape in outputs.items()
    ]
    entry = helper.make_tensor_value_info("x", kind, given)
    return helper.make_model(helper.make_graph(list(nodes), "g", [entry], ports))


FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64


@pytest.mark.parametrize(
    ("outputs", "chosen"),
    [
        ({"anything": (FLOAT, ["N", 4])}, "anything"),
        ({"label": (INT64, ["N"]), "p": (FLOAT, ["N", 4])}, "p"),
        ({"features": (FLOAT, ["N", 8, 7, 7]), "y": (FLOAT, ["N", 4])}, "y"),
        ({"features": (FLOAT, ["N", 8, 7, 7]), "y": (FLOAT, ["N", 4, 1, 1])}, "y"),
        ({"embedding": (FLOAT, ["N", 8]), "Logits": (FLOAT, ["N", 4])}, "Logits"),
        ({"probabilities": (FLOAT, ["N", 4]), "logits": (FLOAT, ["N", 4])}, "logits"),
    ],
)
def test_the_answer_is_chosen_by_form_and_then_by_name(outputs, chosen):
    assert answer_name(model(outputs), "a.onnx") == chosen


@pytest.mark.parametrize(
    ("outputs", "message"),
    [
        ({"a": (FLOAT, ["N", 4]), "b": (FLOAT, ["N", 5])}, r"a \['N', 4\], b|a \['\?', 4\], b"),
        ({"label": (INT64, ["N"])}, "no output of floats"),
        ({"label": (INT64, ["N"]), "p": MAP}, r"a sequence or a map .*'scores'.*ZipMap"),
    ],
)
def test_what_is_no_answer_is_refused_by_name(outputs, message):
    zipped = helper.make_node("ZipMap", ["scores"], ["p"], domain="ai.onnx.ml")
    with pytest.raises(TeacherError, match=message):
        answer_name(model(outputs, [zipped]), "a.onnx")


def test_the_port_is_read_with_whatever_is_free():
    entry = image_input(model({}, given=(-1, 3, "H", None)), "a.onnx")
    port = image_port(entry, "a.onnx")
    assert (port.batch, port.channels, port.height, port.width) == (None, 3, None, None)
    last = image_port(image_input(model({}, given=(2, 16, 20, 3)), "a.onnx"), "a.onnx")
    assert last.channels_last
    assert (last.batch, last.channels, last.height, last.width) == (2, 3, 16, 20)


@pytest.mark.parametrize("kind", [TensorProto.UINT8, TensorProto.INT64, TensorProto.BFLOAT16, 99])
def test_only_floats_are_taken(kind):
    with pytest.raises(TeacherError, match="no gradient reaches"):
        image_input(model({}, kind=kind), "a.onnx")
