import pytest
import torch
from reference import cake

from cake_edge.losses.diversity import class_entropy_released
from cake_edge.seeding import generator


def test_it_is_the_literal_form_and_lowest_for_even_classes():
    logits = torch.randn((6, 4), generator=generator(0, "z"), dtype=torch.float64)
    found = class_entropy_released(logits).item()
    assert found == pytest.approx(cake.diversity(logits.tolist()))
    assert class_entropy_released(torch.zeros((6, 4))).item() < found


def test_a_class_that_nothing_is_left_of_has_a_finite_gradient():
    logits = torch.tensor([[0.0, 200.0], [0.0, 300.0]], requires_grad=True)
    value = class_entropy_released(logits)
    value.backward()
    assert value.item() == pytest.approx(0.0)
    assert torch.isfinite(logits.grad).all()
