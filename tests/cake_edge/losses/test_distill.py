import pytest
import torch
from reference import distill

from cake_edge.losses.distill import soft_cross_entropy, temperature_kl
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
