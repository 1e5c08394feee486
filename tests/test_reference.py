"""The references themselves, on values worked out by hand and against independent libraries."""

from __future__ import annotations

import math
import random
from itertools import combinations

import numpy as np
import pytest
import torch
from reference import cake, distill, scale_free, schedules, selection, statistics

LN3 = math.log(3)
TUPLES = [[[0.0, 0.0], [1.0, 2.0]], [[3.0, 0.0], [0.0, 4.0]]]  # two tuples, G = 2, K = 2
PICTURE = [[0.0, 1.0, 3.0], [2.0, 2.0, 2.0]]


def test_softmax_divides_the_logits_by_the_temperature():
    assert cake.softmax([0.0, LN3]) == pytest.approx([0.25, 0.75])
    assert cake.softmax([0.0, 2 * LN3], temperature=2) == pytest.approx([0.25, 0.75])


def test_classification_is_the_group_size_times_the_mean():
    logits = [[[0.0, 0.0], [0.0, LN3]]]
    expected = 2 * (math.log(2) + math.log(4 / 3)) / 2
    assert cake.classification(logits, [[0, 1]]) == pytest.approx(expected)


def test_contrast_by_hand_in_both_forms():
    # Squared distances 5 and 25, mean 15, over K = 2.
    assert cake.contrast(TUPLES) == pytest.approx(7.5)
    assert cake.contrast_by_pairs(TUPLES) == pytest.approx(7.5)


@pytest.mark.parametrize(("tuples", "group", "classes"), [(1, 2, 3), (3, 4, 5), (2, 5, 2)])
def test_the_two_forms_of_the_contrast_agree(tuples, group, classes):
    logits = np.random.default_rng(0).normal(size=(tuples, group, classes)).tolist()
    assert cake.contrast(logits) == pytest.approx(cake.contrast_by_pairs(logits))


def test_contrast_of_the_paper_ignores_pairs_of_one_class():
    logits = [[[0.0, 0.0], [1.0, 2.0], [3.0, 4.0]]]
    assert cake.contrast_of_paper(logits, [[0, 1, 2]]) == pytest.approx([5 + 25 + 8])
    assert cake.contrast_of_paper(logits, [[0, 1, 1]]) == pytest.approx([5 + 25])
    assert cake.contrast_of_paper(logits, [[7, 7, 7]]) == [0]


def test_soft_nearest_neighbour_by_hand():
    logits, labels = [[0.0], [0.0], [1.0]], [0, 0, 1]
    # The third has no partner and is left out; to each of the others 1 of 1 + e^-1 is near mass.
    assert cake.soft_nearest_neighbour(logits, labels) == pytest.approx(math.log(1 + math.exp(-1)))


def test_released_total_variation_by_hand():
    # Vertical steps 2, 1, 1 of mean 4/3; horizontal 1, 2, 0, 0 of mean 3/4.
    assert cake.total_variation([[PICTURE]]) == pytest.approx(4 / 3 + 3 / 4)


def test_diversity_is_lowest_where_classes_are_even():
    assert cake.diversity([[0.0, 0.0]]) == pytest.approx(0.5 * math.log10(0.5))
    sure_and_split = [[50.0, -50.0], [-50.0, 50.0]]
    assert cake.diversity(sure_and_split) == pytest.approx(0.5 * math.log10(0.5))
    assert cake.diversity([[0.0, LN3]]) > cake.diversity([[0.0, 0.0]])


def test_step_sizes_fall_by_decades_over_the_pool():
    assert cake.step_size_linear(0, 500, 0.1, 4) == pytest.approx(0.1)
    assert cake.step_size_linear(250, 500, 0.1, 4) == pytest.approx(1e-3)
    assert cake.step_size_linear(499, 500, 0.1, 4) == pytest.approx(1.0186e-5, rel=1e-4)
    assert cake.step_size_cosine(0, 500, 0.1, 4) == pytest.approx(0.1)
    assert cake.step_size_cosine(250, 500, 0.1, 4) == pytest.approx(1e-3)
    assert cake.step_size_cosine(500, 500, 0.1, 4) == pytest.approx(1e-5)


def test_tuple_labels_are_distinct_and_in_range():
    assert cake.are_tuple_labels([[0, 2], [1, 0]], group=2, classes=3)
    assert not cake.are_tuple_labels([[0, 0]], group=2, classes=3)
    assert not cake.are_tuple_labels([[0, 3]], group=2, classes=3)
    assert not cake.are_tuple_labels([[0]], group=2, classes=3)


def test_steps_of_cake_and_lake():
    assert cake.cake_step([1.0], [4.0], 0.125).tolist() == [0.5]
    assert cake.lake_step([1.0], [4.0], 0.125, [-1.0]).tolist() == [0.0]


def test_scan_line_variation_by_hand():
    # Vertical 4 over a width of 3, horizontal 3 over a height of 2.
    assert scale_free.total_variation([PICTURE]) == pytest.approx(4 / 3 + 3 / 2)
    flat = [[5.0] * 3] * 2
    assert scale_free.total_variation([PICTURE, flat]) == pytest.approx((4 / 3 + 3 / 2) / 2)


@pytest.mark.parametrize("times", [2, 3])
def test_scan_line_variation_survives_enlarging_and_the_released_one_does_not(times):
    enlarged = np.repeat(np.repeat(np.array([PICTURE]), times, 1), times, 2).tolist()
    before = scale_free.total_variation([PICTURE])
    assert scale_free.total_variation(enlarged) == pytest.approx(before)
    assert cake.total_variation([enlarged]) < 0.8 * cake.total_variation([[PICTURE]])


def test_pair_contrast_by_hand():
    logits = [[0.0, 0.0, 9.0], [1.0, 2.0, 0.0], [3.0, 4.0, 9.0]]
    # Between images 0 and 1 in logits 0 and 1: (1 + 4) / 2; the third logit takes no part.
    assert scale_free.pair_contrast(logits[:2], [0, 1]) == pytest.approx([5 / 2, 5 / 2])
    # Image 1 against 0: 5 / 2; against 2 in logits 1 and 2: (4 + 81) / 2; the mean of both.
    assert scale_free.pair_contrast(logits, [0, 1, 2])[1] == pytest.approx((5 / 2 + 85 / 2) / 2)
    assert scale_free.pair_contrast(logits, [1, 1, 1]) == [0, 0, 0]


def test_pair_contrast_keeps_its_meaning_over_tuple_size_and_class_count():
    for size in (2, 3, 6):
        corners = [[2.0 * (i == k) for k in range(size)] for i in range(size)]
        assert scale_free.pair_contrast(corners, range(size)) == pytest.approx([4.0] * size)
        longer = [[*row, 7.0, -3.0] for row in corners]
        assert scale_free.pair_contrast(longer, range(size)) == pytest.approx([4.0] * size)


def test_soft_cross_entropy_by_hand():
    # Teacher (1/4, 3/4), student (1/2, 1/2).
    assert distill.soft_cross_entropy([[0.0, 0.0]], [[0.0, LN3]]) == pytest.approx(math.log(2))


def test_temperature_kl_by_hand():
    expected = 0.25 * math.log(0.5) + 0.75 * math.log(1.5)
    assert distill.temperature_kl([[0.0, 0.0]], [[0.0, LN3]], 1) == pytest.approx(expected)
    assert distill.temperature_kl([[0.0, 0.0]], [[0.0, 2 * LN3]], 2) == pytest.approx(4 * expected)
    pair = distill.temperature_kl([[0.0, 0.0], [1.0, 0.0]], [[0.0, LN3], [1.0, 0.0]], 1)
    assert pair == pytest.approx(expected / 2)


def test_mixup_by_hand():
    mixed = distill.mixup([[0.0, 8.0], [4.0, 0.0]], order=[1, 0], share=[0.25, 1.0])
    assert mixed == [[3.0, 2.0], [4.0, 0.0]]


@pytest.mark.parametrize("total", [10, 37])
def test_one_cycle_is_torch_s(total):
    optimiser = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0, momentum=0.9)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=0.5, total_steps=total)
    for step in range(total):
        group = optimiser.param_groups[0]
        given = schedules.one_cycle(step, total, 0.5)
        assert given == pytest.approx((group["lr"], group["momentum"]), rel=1e-9)
        optimiser.step()
        if step < total - 1:
            schedule.step()


def test_warm_cosine_by_hand():
    rates = [schedules.warm_cosine(step, 8, 1.0, 4, 0.2) for step in range(9)]
    assert rates[:4] == pytest.approx([0.25, 0.5, 0.75, 1.0])
    assert rates[4] == pytest.approx(1.0)
    assert rates[6] == pytest.approx(0.6)
    assert rates[8] == pytest.approx(0.2)


def test_balanced_selection_by_hand():
    classes = [0, 0, 0, 0, 1, 1, 2]
    assert selection.balanced(classes, 3) == [0, 4, 6]
    assert selection.balanced(classes, 5) == [0, 1, 4, 5, 6]
    assert selection.balanced(classes, 7) == list(range(7))
    with pytest.raises(ValueError, match="cannot keep 8 of 7"):
        selection.balanced(classes, 8)


def test_no_choice_is_flatter_than_the_balanced_one():
    draw = random.Random(3)
    for _ in range(20):
        classes = [draw.choice([0, 0, 0, 1, 1, 2]) for _ in range(8)]
        keep = draw.randrange(1, 8)
        squares = {
            kept: sum(count**2 for count in selection.flatness(classes, kept))
            for kept in combinations(range(8), keep)
        }
        assert squares[tuple(selection.balanced(classes, keep))] == min(squares.values())


@pytest.mark.parametrize(
    ("percent", "expected"), [(5, 15), (30, 20), (40, 20), (50, 35), (90, 50), (99, 50), (100, 50)]
)
def test_nearest_rank_by_hand(percent, expected):
    assert statistics.nearest_rank([40, 15, 50, 35, 20], percent) == expected


def test_nearest_rank_is_numpy_s_inverted_distribution():
    samples = np.random.default_rng(1).integers(0, 50, 97).tolist()
    for percent in (1, 12.5, 50, 90, 95, 99, 100):
        expected = np.percentile(samples, percent, method="inverted_cdf")
        assert statistics.nearest_rank(samples, percent) == expected
