import pytest
import torch
from reference import synthesis

from cake_edge.losses.soft_targets import soft_target_cross_entropy


def test_it_is_the_literal_formula():
    random = torch.Generator().manual_seed(0)
    logits = torch.randn(5, 4, generator=random) * 3
    wanted = torch.rand(5, 4, generator=random).softmax(1)
    found = soft_target_cross_entropy(logits, wanted, 7.0)
    literal = [
        synthesis.soft_cross_entropy(z, y, 7.0)
        for z, y in zip(logits.tolist(), wanted.tolist(), strict=True)
    ]
    assert found.tolist() == pytest.approx(literal, rel=1e-5)


def test_it_is_least_where_the_answer_is_the_wanted_one():
    wanted = torch.tensor([[0.5, 0.3, 0.2]])
    best = soft_target_cross_entropy(wanted.log() * 4, wanted, 4.0)
    for change in torch.eye(3):
        assert soft_target_cross_entropy(wanted.log() * 4 + change, wanted, 4.0) > best
