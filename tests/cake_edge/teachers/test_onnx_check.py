"""A network that computes something else than ONNX Runtime does not become a teacher."""

from __future__ import annotations

import onnx
import pytest
import torch
from onnx import TensorProto, helper
from torch import nn

from cake_edge.errors import TeacherError
from cake_edge.onnx_network import network_from_onnx
from cake_edge.spec import ImageSpec
from cake_edge.teachers.network import Port
from cake_edge.teachers.onnx_check import TOLERANCE, check_against_runtime, is_half
from cake_edge.teachers.onnx_tail import cut_tail

SPEC = ImageSpec(
    channels=3, height=16, width=16, mean=(0.5,) * 3, std=(0.25,) * 3, classes=4, labels=None
)


class Off(nn.Module):
    """A network whose first logit is off by a share of the largest."""

    def __init__(self, network, share):
        super().__init__()
        self.network, self.share = network, share

    def forward(self, images):
        logits = self.network(images)
        return logits + self.share * logits.abs().max() * torch.eye(4)[0]


def check(path, share=0.0, removed=None, answer="z", batch=None):
    tail = cut_tail(onnx.load(path), answer)
    return check_against_runtime(
        Off(network_from_onnx(tail.model), share), tail.model, path,
        answer=answer, removed=removed or tail.removed, spec=SPEC, port=Port(batch=batch),
    )  # fmt: skip


def test_equal_logits_pass_and_the_difference_is_returned(write_onnx):
    path = write_onnx()
    assert check(path) < 1e-5
    assert check(path, TOLERANCE / 2) == pytest.approx(TOLERANCE / 2, rel=0.2)


def test_a_difference_above_the_tolerance_is_refused_with_figures(write_onnx):
    with pytest.raises(TeacherError, match=r"differ from ONNX Runtime's by .* here, .* there"):
        check(write_onnx(), 2 * TOLERANCE)


def test_what_was_taken_off_must_give_the_files_own_answer(write_onnx):
    path = write_onnx(tail=[helper.make_node("Softmax", ["z"], ["answer"])])
    assert check(path, answer="answer") < 1e-5
    with pytest.raises(TeacherError, match="sigmoid of logits differ"):
        check(path, removed="sigmoid", answer="answer")


def test_a_fixed_batch_is_checked_with_that_many(write_onnx):
    assert check(write_onnx(batch=5), batch=5) < 1e-5


def test_what_the_runtime_cannot_run_is_refused_with_its_reason(write_onnx):
    path = write_onnx()
    tail = cut_tail(onnx.load(path), "z")
    tail.model.graph.node[1].op_type = "NoSuchOperator"
    with pytest.raises(TeacherError, match=r"cannot run .*NoSuchOperator"):
        check_against_runtime(
            nn.Identity(), tail.model, path, answer="z", removed=None, spec=SPEC, port=Port()
        )


def test_float16_is_seen_and_held_to_less(write_onnx):
    path = write_onnx(kind=TensorProto.FLOAT16)
    assert is_half(onnx.load(path))
    assert not is_half(onnx.load(write_onnx(name="float.onnx")))
    assert check(path, 20 * TOLERANCE) < 1e-2
