from __future__ import annotations

from collections import OrderedDict, namedtuple
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from cake_edge.errors import TeacherError
from cake_edge.seeding import generator
from cake_edge.teachers.adapters import (
    ChannelsLast,
    FixedBatch,
    LogitsOf,
    LogitsOfProbabilities,
    LogitsOfShares,
    TwoLogits,
    fixed_batch,
    innermost,
    plain_answer,
)


class Linear(nn.Module):
    """Logits that are linear in the pixels, and what is done to them afterwards."""

    def __init__(self, after: Any = lambda logits: logits, classes: int = 3) -> None:
        super().__init__()
        random = generator(0, "linear")
        self.weight = nn.Parameter(torch.randn((12, classes), generator=random))
        self.after = after
        self.seen: list[tuple[int, ...]] = []

    def forward(self, images: torch.Tensor) -> Any:
        self.seen.append(tuple(images.shape))
        return self.after(images.flatten(1) @ self.weight)


def pictures(count: int = 5) -> torch.Tensor:
    return torch.randn((count, 3, 2, 2), generator=generator(1, "images"))


def gradient_of(network: nn.Module, loss: Any, images: torch.Tensor) -> torch.Tensor:
    images = images.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(loss(network(images)), images)
    return gradient


def squares(logits: torch.Tensor) -> torch.Tensor:
    return logits.square().sum()


Answer = namedtuple("Answer", "main auxiliary")


@pytest.mark.parametrize(
    "after",
    [
        lambda z: z,
        lambda z: z[:, :, None, None],
        lambda z: z[:, None, None],
        lambda z: (z, z + 1),
        lambda z: [z],
        lambda z: Answer(z, None),
        lambda z: {"features": z + 1, "logits": z},
        lambda z: OrderedDict(logits=z),
        lambda z: SimpleNamespace(loss=None, logits=z),
    ],
)
def test_logits_are_taken_out_of_whatever_holds_them(after: Any) -> None:
    images, plain, network = pictures(), Linear(), LogitsOf(Linear(after))
    assert torch.equal(network(images), plain(images))
    assert torch.equal(gradient_of(network, squares, images), gradient_of(plain, squares, images))


def test_one_logit_keeps_its_axis() -> None:
    assert plain_answer(torch.zeros(4, 1, 1, 1)).shape == (4, 1)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (torch.zeros(2, 3, 7, 7), r"shape \[2, 3, 7, 7\]"),
        (torch.zeros(2, 1, 7, 7), r"shape \[2, 1, 7, 7\]"),
        (torch.zeros(2), r"shape \[2\]"),
        ({"boxes": torch.zeros(2, 4)}, "answers with a dict"),
        ((), "answers with a tuple"),
        (None, "answers with a NoneType"),
    ],
)
def test_what_is_no_classifier_s_answer_is_refused(answer: Any, said: str) -> None:
    with pytest.raises(TeacherError, match=said):
        plain_answer(answer)


def test_channels_last_moves_the_axis_alone() -> None:
    images, inner = pictures(), Linear()
    network = ChannelsLast(inner)
    logits = network(images)
    assert inner.seen == [(5, 2, 2, 3)]
    turned = images.permute(0, 2, 3, 1)
    assert torch.equal(logits, turned.flatten(1) @ inner.weight)
    plain = gradient_of(lambda x: x.flatten(1) @ inner.weight, squares, turned)
    assert torch.equal(gradient_of(network, squares, images), plain.permute(0, 3, 1, 2))


@pytest.mark.parametrize("count", range(1, 10))
@pytest.mark.parametrize("size", [1, 4])
def test_a_fixed_batch_gives_every_image_its_own_answer(count: int, size: int) -> None:
    images, plain, inner = pictures(count), Linear(), Linear(lambda z: (z,))
    network = FixedBatch(inner, size)
    torch.testing.assert_close(network(images), plain(images))
    assert inner.seen == [(size, 3, 2, 2)] * -(-count // size)
    torch.testing.assert_close(
        gradient_of(network, squares, images), gradient_of(plain, squares, images)
    )


def cross_entropy(logits: torch.Tensor) -> torch.Tensor:
    return nn.functional.cross_entropy(logits, torch.tensor([0, 1, 2, 0, 1]))


def test_the_logarithm_of_a_softmax_is_the_logits_but_for_a_constant() -> None:
    images, plain = pictures(), Linear()
    network = LogitsOfProbabilities(Linear(lambda z: z.softmax(1)))
    difference = network(images) - plain(images)
    torch.testing.assert_close(difference, difference[:, :1].expand(-1, 3))
    torch.testing.assert_close(network(images).softmax(1), plain(images).softmax(1))
    torch.testing.assert_close(
        gradient_of(network, cross_entropy, images), gradient_of(plain, cross_entropy, images)
    )


def test_a_probability_of_nothing_has_a_finite_logit_and_gradient() -> None:
    network = LogitsOfProbabilities(Linear(lambda z: (1000 * z).softmax(1)))
    logits, gradient = network(pictures()), gradient_of(network, squares, pictures())
    assert logits.min() < -60
    assert torch.isfinite(logits).all()
    assert torch.isfinite(gradient).all()


def test_what_went_into_a_sigmoid_is_found_again() -> None:
    images, plain, network = pictures(), Linear(), LogitsOfShares(Linear(torch.sigmoid))
    torch.testing.assert_close(network(images), plain(images), rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(
        gradient_of(network, squares, images),
        gradient_of(plain, squares, images),
        rtol=1e-3,
        atol=1e-3,
    )
    far = LogitsOfShares(Linear(lambda z: (1000 * z).sigmoid()))
    assert torch.isfinite(far(images)).all()
    assert torch.isfinite(gradient_of(far, squares, images)).all()


def test_one_logit_becomes_two_with_the_same_probabilities() -> None:
    images, plain = pictures(), Linear(classes=1)
    logits = TwoLogits(Linear(classes=1))(images)
    assert logits.shape == (5, 2)
    yes = plain(images).sigmoid()
    torch.testing.assert_close(logits.softmax(1), torch.cat([1 - yes, yes], 1))


def test_adapters_can_be_taken_off() -> None:
    inner = Linear()
    around = LogitsOfProbabilities(FixedBatch(ChannelsLast(inner), 4))
    assert innermost(around) is inner
    assert innermost(inner) is inner
    assert fixed_batch(around) == 4
    assert fixed_batch(LogitsOf(inner)) is None
