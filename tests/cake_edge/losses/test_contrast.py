import pytest
import torch
from reference import cake, scale_free

from cake_edge.losses.contrast import (
    pair_contrast,
    pair_contrast_released,
    soft_nearest_neighbour_released,
)
from cake_edge.samplers.optimise import draw_tuples
from cake_edge.seeding import generator


def some_logits(*shape):
    return torch.randn(shape, generator=generator(0, "logits"), dtype=torch.float64)


@pytest.mark.parametrize("shape", [(1, 2, 2), (3, 4, 7), (2, 10, 10)])
def test_the_released_form_is_the_literal_mean_and_the_sum_of_pair_forces(shape):
    logits = some_logits(*shape)
    found = pair_contrast_released(logits).item()
    assert found == pytest.approx(cake.contrast(logits.tolist()))
    assert found == pytest.approx(cake.contrast_by_pairs(logits.tolist()))


def test_the_scale_free_form_is_the_literal_one_with_repeated_targets_too():
    logits = some_logits(2, 4, 6)
    targets = torch.tensor([[0, 5, 2, 1], [3, 3, 3, 4]])
    wanted = [
        scale_free.pair_contrast(z, y)
        for z, y in zip(logits.tolist(), targets.tolist(), strict=True)
    ]
    for found, expected in zip(pair_contrast(logits, targets).tolist(), wanted, strict=True):
        assert found == pytest.approx(expected)


def test_a_tuple_of_one_class_is_not_pulled():
    assert pair_contrast(some_logits(1, 3, 4), torch.tensor([[2, 2, 2]])).tolist() == [[0, 0, 0]]


def test_an_image_s_gradient_is_the_same_in_a_larger_batch():
    logits, targets = some_logits(4, 3, 5), draw_tuples(4, 3, 5, generator(0, "y"))

    def gradient(count):
        part = logits[:count].clone().requires_grad_()
        pair_contrast(part, targets[:count]).sum().backward()
        return part.grad[0]

    torch.testing.assert_close(gradient(1), gradient(4))


def test_classes_beside_the_tuple_change_nothing():
    logits, targets = some_logits(3, 4, 4), draw_tuples(3, 4, 4, generator(0, "y"))
    wider = torch.cat([logits, some_logits(3, 4, 96)], dim=2)
    torch.testing.assert_close(pair_contrast(wider, targets), pair_contrast(logits, targets))


def test_a_larger_tuple_of_equal_distances_has_the_same_value():
    def value(size):
        corners = (6.0 * torch.eye(size)).unsqueeze(0)
        return pair_contrast(corners, torch.arange(size).unsqueeze(0))

    assert value(2)[0].tolist() == pytest.approx([36.0] * 2)
    assert value(10)[0].tolist() == pytest.approx([36.0] * 10)


def test_the_soft_nearest_neighbour_form_is_the_literal_one():
    logits = some_logits(8, 3) * 0.5
    targets = torch.tensor([0, 1, 2, 0, 1, 2, 0, 1])
    found = soft_nearest_neighbour_released(logits, targets).item()
    assert found == pytest.approx(cake.soft_nearest_neighbour(logits.tolist(), targets.tolist()))
