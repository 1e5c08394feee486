from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import nn

from cake_edge.errors import NumericsError, TeacherError
from cake_edge.spec import ImageSpec
from cake_edge.teachers.frozen import FrozenTeacher

SPEC = ImageSpec(channels=1, height=28, width=28, mean=(0.3,), std=(0.4,), classes=10)


class Fixed(nn.Module):
    def __init__(self, answer: object) -> None:
        super().__init__()
        self.answer = answer

    def forward(self, images: torch.Tensor) -> object:
        return self.answer


def test_it_stays_in_eval_mode_with_frozen_weights(small: nn.Module) -> None:
    teacher = FrozenTeacher(small, SPEC, architecture="test_resnet")
    assert teacher.train() is teacher
    assert not any(module.training for module in teacher.network.modules())
    assert not any(parameter.requires_grad for parameter in teacher.parameters())


def test_gradients_reach_its_input(small: nn.Module) -> None:
    teacher = FrozenTeacher(small, SPEC, architecture="test_resnet")
    images = torch.linspace(-1, 1, 1568).reshape(2, 1, 28, 28).requires_grad_()
    teacher(images).sum().backward()
    assert images.grad is not None
    assert images.grad.abs().sum() > 0


def test_an_input_it_does_not_accept_is_named(small: nn.Module) -> None:
    grey = ImageSpec(channels=3, height=28, width=28, mean=(0.3,) * 3, std=(0.4,) * 3, classes=10)
    with pytest.raises(TeacherError, match=r"does not accept images of shape \[3, 28, 28\]"):
        FrozenTeacher(small, grey, architecture="test_resnet")


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (torch.zeros(2, 9), r"\[2, 9\], not with logits of shape \[2, 10\]"),
        ([torch.zeros(2, 10)], "list, not with logits"),
    ],
)
def test_an_answer_of_another_shape_is_refused(answer: object, words: str) -> None:
    with pytest.raises(TeacherError, match=words):
        FrozenTeacher(Fixed(answer), SPEC, architecture="fixed")


def test_a_nan_is_refused() -> None:
    with pytest.raises(NumericsError, match="NaN or infinity"):
        FrozenTeacher(Fixed(torch.full((2, 10), torch.nan)), SPEC, architecture="fixed")


def test_its_digest_tells_teachers_apart_by_all_that_shapes_an_answer(small: nn.Module) -> None:
    def digest(mean: float = 0.5, architecture: str = "small", **arguments: object) -> str:
        spec = dataclasses.replace(SPEC, mean=(mean,) * SPEC.channels)
        teacher = FrozenTeacher(small, spec, architecture=architecture, arguments=arguments)
        return teacher.digest

    assert digest() == digest()
    assert len({digest(), digest(mean=0.4), digest(architecture="x"), digest(act="gelu")}) == 4
