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
