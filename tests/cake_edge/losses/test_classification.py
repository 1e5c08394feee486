import math

import pytest
import torch
from reference import cake, distill

from cake_edge.losses.classification import (
    target_binary_cross_entropy,
    target_cross_entropy,
    target_cross_entropy_released,
)
from cake_edge.seeding import generator


def test_each_image_has_the_cross_entropy_of_the_literal_form():
    logits = torch.randn((6, 5), generator=generator(0, "z"), dtype=torch.float64)
    targets = torch.tensor([0, 1, 2, 3, 4, 0])
    wanted = [cake.cross_entropy(z.tolist(), int(y)) for z, y in zip(logits, targets, strict=True)]
    assert target_cross_entropy(logits, targets).tolist() == pytest.approx(wanted)


def test_the_released_form_is_the_literal_one():
    logits = torch.randn((4, 3, 5), generator=generator(1, "z"), dtype=torch.float64)
    targets = torch.tensor([[0, 1, 2], [4, 3, 0], [1, 2, 3], [0, 4, 1]])
    found = target_cross_entropy_released(logits.flatten(0, 1), targets.flatten(), tuple_size=3)
    assert found.item() == pytest.approx(cake.classification(logits.tolist(), targets.tolist()))


def test_a_label_that_excludes_no_other_is_pushed_alone():
    logits = torch.randn((6, 5), generator=generator(0, "z"), dtype=torch.float64)
    targets = torch.tensor([0, 1, 2, 3, 4, 0])
    wanted = [-math.log(distill.sigmoid(z[y].item())) for z, y in zip(logits, targets, strict=True)]
    logits.requires_grad_()
    found = target_binary_cross_entropy(logits, targets)
    assert found.tolist() == pytest.approx(wanted)
    (gradient,) = torch.autograd.grad(found.sum(), logits)
    assert (gradient != 0).sum(1).tolist() == [1] * 6
    assert (gradient[torch.arange(6), targets] < 0).all()
