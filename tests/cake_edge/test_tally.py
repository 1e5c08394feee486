from __future__ import annotations

import math

import numpy as np
import pytest

from cake_edge.tally import Tally, wilson_interval

WANTED = np.array([[1.0, -1.0, -1.0], [2.0, 3.0, -1.0], [-1.0, -2.0, -3.0]], dtype=np.float32)
GIVEN = np.array([[1.0, 2.0, -1.0], [2.0, 3.0, -1.0], [-3.0, -2.0, -1.0]], dtype=np.float32)
LABELS = np.array([0, 1, 2])


def tallied(head, *, reference=WANTED):
    tally = Tally()
    for part in (slice(0, 2), slice(2, 3)):
        shown = None if reference is None else reference[part]
        tally.add(GIVEN[part], LABELS[part], shown, head)
    return tally.result(3)


def test_models_of_exclusive_classes_agree_on_the_highest_logit():
    found = tallied("softmax")
    assert found.agreement == pytest.approx(100 / 3)
    assert found.top1 == pytest.approx(200 / 3)
    assert found.overlap is None
    assert "overlap" not in found.to_dict()


def test_models_of_several_labels_agree_on_each_of_them():
    found = tallied("sigmoid")
    # One label of nine differs; of the four that either finds, three are found by both.
    assert found.agreement == pytest.approx(100 * 8 / 9)
    assert found.overlap == found.to_dict()["overlap"] == pytest.approx(75.0)
    assert found.top1 == pytest.approx(200 / 3)


def test_without_a_reference_there_is_nothing_to_agree_with():
    found = tallied("sigmoid", reference=None)
    assert found.agreement is None
    assert found.overlap is None


def test_models_that_find_no_label_overlap_in_none():
    tally = Tally()
    tally.add(-np.ones((2, 3), np.float32), LABELS[:2], -np.ones((2, 3), np.float32), "sigmoid")
    found = tally.result(2)
    assert found.agreement == 100.0
    assert found.overlap is None


def test_wilsons_interval_is_the_published_one() -> None:
    # Brown, Cai and DasGupta (2001), and any calculator: 8 of 10 gives 49.0 to 94.3.
    assert wilson_interval(8, 10) == pytest.approx((49.016, 94.332), abs=1e-3)


@pytest.mark.parametrize(("right", "total"), [(0, 20), (20, 20), (7, 20), (1, 1)])
def test_wilsons_interval_holds_the_shares_that_the_score_test_accepts(
    right: int, total: int
) -> None:
    low, high = (value / 100 for value in wilson_interval(right, total))
    assert 0 <= low <= right / total <= high <= 1
    for edge in (low, high):
        if 1e-9 < edge < 1 - 1e-9:
            score = abs(right / total - edge) / math.sqrt(edge * (1 - edge) / total)
            assert score == pytest.approx(1.95996, abs=1e-4)
