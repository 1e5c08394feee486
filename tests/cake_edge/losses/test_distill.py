import pytest
import torch
from reference import distill

from cake_edge.losses.distill import (
    binary_soft_cross_entropy,
    binary_temperature_kl,
    soft_cross_entropy,
    temperature_kl,
)
from cake_edge.seeding import generator


@pytest.fixture
def pair():
    return torch.randn((2, 5, 7), generator=generator(0, "z"), dtype=torch.float64) * 3


@pytest.mark.parametrize("temperature", [1.0, 2.0, 20.0])
def test_kl_is_the_literal_form(pair, temperature):
    student, teacher = pair
    wanted = distill.temperature_kl(student.tolist(), teacher.tolist(), temperature)
    assert temperature_kl(student, teacher, temperature).item() == pytest.approx(wanted)


def test_kl_is_zero_only_for_equal_answers(pair):
    student, teacher = pair
    assert temperature_kl(teacher + 5, teacher, 2.0).item() == pytest.approx(0)
    assert temperature_kl(student, teacher, 2.0).item() > 0.1


def test_soft_cross_entropy_is_the_literal_form(pair):
    student, teacher = pair
    wanted = distill.soft_cross_entropy(student.tolist(), teacher.tolist())
    assert soft_cross_entropy(student, teacher).item() == pytest.approx(wanted)


@pytest.mark.parametrize("temperature", [1.0, 2.0, 20.0])
def test_the_kl_of_labels_is_the_literal_form(pair, temperature):
    student, teacher = pair
    wanted = distill.binary_temperature_kl(student.tolist(), teacher.tolist(), temperature)
    assert binary_temperature_kl(student, teacher, temperature).item() == pytest.approx(wanted)


def test_the_kl_of_labels_is_that_of_a_two_way_softmax_for_each(pair):
    def two_way(logits):
        return torch.stack([torch.zeros_like(logits), logits], -1).flatten(0, 1)

    student, teacher = pair
    each = temperature_kl(two_way(student), two_way(teacher), 2.0) * student.shape[1]
    assert binary_temperature_kl(student, teacher, 2.0).item() == pytest.approx(each.item())


def test_the_kl_of_labels_is_zero_for_equal_answers_and_sees_a_shift(pair):
    _, teacher = pair
    assert binary_temperature_kl(teacher, teacher, 2.0).item() == 0
    assert binary_temperature_kl(teacher + 1, teacher, 2.0).item() > 0.1


def test_the_kl_of_labels_stays_finite_at_the_ends():
    far = torch.tensor([[300.0, -300.0]], requires_grad=True)
    value = binary_temperature_kl(far, -far.detach(), 1.0)
    value.backward()
    assert value.item() == pytest.approx(600)
    assert far.grad.tolist() == [[1.0, -1.0]]


def test_the_cross_entropy_of_labels_is_the_literal_form(pair):
    student, teacher = pair
    wanted = distill.binary_soft_cross_entropy(student.tolist(), teacher.tolist())
    assert binary_soft_cross_entropy(student, teacher).item() == pytest.approx(wanted)
