import math

import pytest
import torch
from reference import synthesis

from cake_edge.losses.competition import agreement

TEACHER, STUDENT = torch.randn(2, 6, 4, generator=torch.Generator().manual_seed(0)) * 3


@pytest.mark.parametrize(
    ("exclusive", "literal"), [(True, synthesis.agreement), (False, synthesis.label_agreement)]
)
def test_it_is_the_literal_formula(exclusive, literal):
    found = agreement(TEACHER, STUDENT, exclusive=exclusive)
    wanted = [literal(t, s) for t, s in zip(TEACHER.tolist(), STUDENT.tolist(), strict=True)]
    assert found.tolist() == pytest.approx(wanted, rel=1e-4)


@pytest.mark.parametrize("exclusive", [True, False])
def test_it_is_one_where_both_agree_and_symmetric(exclusive):
    same = agreement(TEACHER, TEACHER, exclusive=exclusive)
    torch.testing.assert_close(same, torch.ones(6))
    torch.testing.assert_close(
        agreement(TEACHER, STUDENT, exclusive=exclusive),
        agreement(STUDENT, TEACHER, exclusive=exclusive),
    )


def test_it_is_least_and_finite_where_they_exclude_each_other():
    one, other = torch.tensor([[200.0, 0.0]]), torch.tensor([[0.0, 200.0]])
    assert agreement(one, other, exclusive=True).item() == pytest.approx(1 - math.log(2))
