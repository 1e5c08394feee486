import math

import pytest
import torch
from reference import synthesis

from cake_edge.losses.instances import instance_discrimination

RANDOM = torch.Generator().manual_seed(0)
VIEWS, OTHERS = torch.randn(2, 5, 3, generator=RANDOM)
BANK = torch.randn(7, 3, generator=RANDOM)


@pytest.mark.parametrize("size", [0, 7], ids=["empty bank", "bank"])
def test_it_is_the_literal_formula(size):
    found = instance_discrimination(VIEWS, OTHERS, BANK[:size], 0.3)
    wanted = synthesis.instance_discrimination(
        VIEWS.tolist(), OTHERS.tolist(), BANK[:size].tolist(), 0.3
    )
    assert found.tolist() == pytest.approx(wanted, rel=1e-4)


def test_an_image_that_the_bank_has_already_costs_more():
    fresh = instance_discrimination(VIEWS, VIEWS, BANK, 0.2)
    known = instance_discrimination(VIEWS, VIEWS, torch.cat([BANK, VIEWS]), 0.2)
    assert (known > fresh).all()


def test_alike_images_cost_the_logarithm_of_how_many_they_are():
    same = torch.ones(4, 3)
    # Each other image is there twice, as whole and as crop: 1 of 1 + 3 + 3.
    assert instance_discrimination(same, same, same[:0], 0.2).tolist() == pytest.approx(
        [math.log(7)] * 4
    )
