import pytest
import torch
from reference import cake, synthesis

from cake_edge.losses.poster import pair_energy, summed_variation

LOGITS = torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(0))
TARGETS = torch.tensor([[0, 1, 2], [3, 3, 1]])


def test_the_contrast_is_the_literal_one():
    wanted = [
        synthesis.pair_energy(z, y) for z, y in zip(LOGITS.tolist(), TARGETS.tolist(), strict=True)
    ]
    for row, literal in zip(pair_energy(LOGITS, TARGETS).tolist(), wanted, strict=True):
        assert row == pytest.approx(literal, rel=1e-5)


def test_over_a_tuple_it_is_the_paper_s_sum_of_pairs():
    wanted = cake.contrast_of_paper(LOGITS.tolist(), TARGETS.tolist())
    assert pair_energy(LOGITS, TARGETS).sum(1).tolist() == pytest.approx(wanted, rel=1e-5)


def test_the_variation_is_the_literal_sum():
    images = torch.rand(2, 3, 4, 5, generator=torch.Generator().manual_seed(0))
    wanted = []
    for image in images.tolist():
        total = 0.0
        for channel in image:
            for j, row in enumerate(channel):
                for k, value in enumerate(row):
                    total += abs(value - channel[j - 1][k]) if j else 0.0
                    total += abs(value - row[k - 1]) if k else 0.0
        wanted.append(total)
    assert summed_variation(images).tolist() == pytest.approx(wanted, rel=1e-5)
