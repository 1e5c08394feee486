from __future__ import annotations

import json
import math

import numpy as np
import pytest

from cake_edge.errors import ArtifactError, GateFailed, NumericsError
from exporters.parity import compare, require

REFERENCE = np.array([[3.0, 4.0], [1.0, 0.0]])
CANDIDATE = np.array([[4.0, 3.0], [1.0, 0.0]])


def test_each_figure_follows_its_definition():
    report = compare(REFERENCE, CANDIDATE)
    assert report.n == 2
    assert report.max_abs == 1
    assert report.mean_abs == 0.5
    assert report.cosine == pytest.approx((24 / 25 + 1) / 2)
    assert report.sqnr_db == pytest.approx(10 * math.log10(26 / 2))
    assert report.top1_agreement == 0.5


def test_labels_that_do_not_exclude_each_other_agree_one_by_one():
    wanted = np.array([[3.0, -4.0, 1.0], [1.0, -1.0, -2.0]])
    given = np.array([[4.0, -3.0, -1.0], [1.0, -2.0, -1.0]])
    assert compare(wanted, given, head="sigmoid").top1_agreement == pytest.approx(5 / 6)
    assert compare(wanted, given).top1_agreement == 1


def test_equal_logits_have_no_error_to_take_a_ratio_of():
    report = compare(REFERENCE, REFERENCE)
    assert (report.max_abs, report.sqnr_db, report.top1_agreement) == (0, None, 1)
    require(report, what="itself", max_abs=0, min_sqnr_db=1000, min_top1_agreement=1)


def test_zero_vectors_point_the_same_way_and_one_zero_vector_nowhere():
    zero = np.zeros((1, 3))
    assert compare(zero, zero).cosine == 1
    assert compare(zero, np.ones((1, 3))).cosine == 0


def test_a_report_is_plain_json_even_for_a_signal_of_zero():
    report = compare(np.zeros((1, 3)), np.ones((1, 3)))
    json.dumps(report.to_dict(), allow_nan=False)


def test_require_tells_every_failure_at_once():
    with pytest.raises(GateFailed) as failure:
        require(
            compare(REFERENCE, CANDIDATE),
            what="b against a",
            max_abs=0.5,
            min_cosine=0.99,
            min_sqnr_db=20,
            min_top1_agreement=0.9,
        )
    for word in ("b against a", "difference 1", "cosine", "SQNR", "agreement 0.5"):
        assert word in str(failure.value)


def test_require_without_bounds_lets_everything_pass():
    require(compare(REFERENCE, -REFERENCE), what="anything")


@pytest.mark.parametrize("shape", [(2, 3), (1, 2), (4,)])
def test_other_shapes_cannot_be_compared(shape):
    with pytest.raises(ArtifactError, match="cannot be compared"):
        compare(REFERENCE, np.zeros(shape))


def test_nothing_cannot_be_compared():
    with pytest.raises(ArtifactError):
        compare(np.zeros((0, 2)), np.zeros((0, 2)))


@pytest.mark.parametrize(("side", "name"), [(0, "reference"), (1, "candidate")])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_nan_or_infinity_is_named_by_its_side(side, name, value):
    pair = [REFERENCE.copy(), REFERENCE.copy()]
    pair[side][0, 0] = value
    with pytest.raises(NumericsError, match=name):
        compare(*pair)
