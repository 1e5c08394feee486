import math

import pytest
import torch
from reference import distill

from cake_edge.losses.distill import (
    binary_confidence,
    binary_soft_cross_entropy,
    binary_temperature_kl,
    confidence,
    soft_cross_entropy,
    temperature_kl,
)
from cake_edge.seeding import generator

LN3 = math.log(3)


@pytest.fixture
def pair():
    return torch.randn((2, 5, 7), generator=generator(0, "z"), dtype=torch.float64) * 3


def one_by_one(literal, pair, *rest):
    """What each image costs; the literal forms take the mean."""
    return [literal([s], [t], *rest) for s, t in zip(*(z.tolist() for z in pair), strict=True)]


@pytest.mark.parametrize("temperature", [1.0, 2.0, 20.0])
def test_kl_is_the_literal_form(pair, temperature):
    wanted = one_by_one(distill.temperature_kl, pair, temperature)
    assert temperature_kl(*pair, temperature).tolist() == pytest.approx(wanted)


def test_kl_is_zero_only_for_equal_answers(pair):
    student, teacher = pair
    assert temperature_kl(teacher + 5, teacher, 2.0).tolist() == pytest.approx([0] * len(teacher))
    assert temperature_kl(student, teacher, 2.0).min() > 0.001


def test_soft_cross_entropy_is_the_literal_form(pair):
    wanted = one_by_one(distill.soft_cross_entropy, pair)
    assert soft_cross_entropy(*pair).tolist() == pytest.approx(wanted)


@pytest.mark.parametrize("temperature", [1.0, 2.0, 20.0])
def test_the_kl_of_labels_is_the_literal_form(pair, temperature):
    wanted = one_by_one(distill.binary_temperature_kl, pair, temperature)
    assert binary_temperature_kl(*pair, temperature).tolist() == pytest.approx(wanted)


def test_the_kl_of_labels_is_that_of_a_two_way_softmax_for_each(pair):
    def two_way(logits):
        return torch.stack([torch.zeros_like(logits), logits], -1).flatten(0, 1)

    student, teacher = pair
    each = temperature_kl(two_way(student), two_way(teacher), 2.0).view(student.shape)
    assert torch.allclose(binary_temperature_kl(student, teacher, 2.0), each.sum(1))


def test_the_kl_of_labels_is_zero_for_equal_answers_and_sees_a_shift(pair):
    _, teacher = pair
    assert binary_temperature_kl(teacher, teacher, 2.0).tolist() == [0] * len(teacher)
    assert binary_temperature_kl(teacher + 1, teacher, 2.0).min() > 0.1


def test_the_kl_of_labels_stays_finite_at_the_ends():
    far = torch.tensor([[300.0, -300.0]], requires_grad=True)
    value = binary_temperature_kl(far, -far.detach(), 1.0)
    value.backward()
    assert value.item() == pytest.approx(600)
    assert far.grad.tolist() == [[1.0, -1.0]]


def test_the_cross_entropy_of_labels_is_the_literal_form(pair):
    wanted = one_by_one(distill.binary_soft_cross_entropy, pair)
    assert binary_soft_cross_entropy(*pair).tolist() == pytest.approx(wanted)


def test_confidence_is_the_highest_probability_whatever_is_added_to_all_logits():
    teacher = torch.tensor([[0.0, LN3], [7.0, 7.0]])
    assert confidence(teacher).tolist() == pytest.approx([0.75, 0.5])
    assert torch.allclose(confidence(teacher + 4), confidence(teacher))


def test_confidence_in_labels_is_that_of_the_likelier_answer_whether_yes_or_no():
    teacher = torch.tensor([[LN3, 0.0], [-LN3, -LN3]])
    assert binary_confidence(teacher).tolist() == pytest.approx([(0.75 + 0.5) / 2, 0.75])
