"""What stands behind the logits is taken off where it is a softmax over classes or a sigmoid."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from cake_edge.teachers.onnx_tail import cut_tail


def run(model):
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    given = np.random.default_rng(0).standard_normal((2, 3, 16, 16)).astype(np.float32)
    return session.run(None, {"x": given})[0]


def node(kind, given, got, **attributes):
    return helper.make_node(kind, [given] if isinstance(given, str) else given, [got], **attributes)


@pytest.mark.parametrize(
    ("tail", "answer", "opset"),
    [
        ([node("Softmax", "z", "answer")], ["N", 4], 17),
        ([node("Softmax", "z", "answer")], ["N", 4], 11),
        ([node("Softmax", "z", "answer", axis=-1)], None, 17),
        ([node("Softmax", "z", "s", axis=1), node("Identity", "s", "answer")], ["N", 4], 17),
        ([node("Softmax", "z", "s"), node("Flatten", "s", "answer")], ["N", 4], 17),
        (
            [node("Softmax", "z", "s"), node("Cast", "s", "answer", to=TensorProto.FLOAT)],
            ["N", 4],
            17,
        ),
        (
            [
                node("Softmax", "z", "s"),
                node("Constant", [], "shape", value=numpy_helper.from_array(np.array([-1, 4]))),
                node("Reshape", ["s", "shape"], "answer"),
            ],
            ["N", 4],
            17,
        ),
    ],
)
def test_a_softmax_over_classes_is_cut(write_onnx, tail, answer, opset):
    logits = run(onnx.load(write_onnx(opset=opset)))
    model = onnx.load(write_onnx(tail=tail, answer=answer or ["N", 4], opset=opset))
    before = model.SerializeToString()
    cut = cut_tail(model, "answer")
    assert cut.removed == "softmax"
    np.testing.assert_allclose(run(cut.model), logits, atol=1e-6)
    assert model.SerializeToString() == before


def test_a_softmax_before_a_squeeze_is_cut_where_the_classes_are(write_onnx):
    axes = numpy_helper.from_array(np.array([2, 3]))
    tail = [
        node("Constant", [], "axes", value=axes),
        node("Unsqueeze", ["z", "axes"], "wide"),
        node("Softmax", "wide", "s", axis=1),
        node("Squeeze", ["s", "axes"], "answer"),
    ]
    cut = cut_tail(onnx.load(write_onnx(tail=tail)), "answer")
    assert cut.removed == "softmax"
    np.testing.assert_allclose(run(cut.model), run(onnx.load(write_onnx())), atol=1e-6)


def test_a_softmax_along_something_else_stays(write_onnx):
    axes = numpy_helper.from_array(np.array([2, 3]))
    tail = [
        node("Constant", [], "axes", value=axes),
        node("Unsqueeze", ["z", "axes"], "wide"),
        node("Softmax", "wide", "s", axis=-1),
        node("Squeeze", ["s", "axes"], "answer"),
    ]
    cut = cut_tail(onnx.load(write_onnx(tail=tail)), "answer")
    assert cut.removed is None
    np.testing.assert_array_equal(run(cut.model), np.ones((2, 4), np.float32))


def test_a_sigmoid_is_cut_and_a_log_softmax_stays(write_onnx):
    cut = cut_tail(onnx.load(write_onnx(tail=[node("Sigmoid", "z", "answer")])), "answer")
    assert cut.removed == "sigmoid"
    assert cut.model.graph.output[0].name == "z"
    kept = cut_tail(onnx.load(write_onnx(tail=[node("LogSoftmax", "z", "answer")])), "answer")
    assert kept.removed is None
    np.testing.assert_allclose(np.exp(run(kept.model)).sum(1), 1, atol=1e-5)


def test_a_softmax_in_the_middle_is_no_tail(write_onnx):
    tail = [node("Softmax", "z", "s"), node("Mul", ["s", "s"], "answer")]
    assert cut_tail(onnx.load(write_onnx(tail=tail)), "answer").removed is None
