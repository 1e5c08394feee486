from __future__ import annotations

import pytest

from cake_edge.errors import UsageMistake
from exporters.latency.qps_search import highest_rate


@pytest.mark.parametrize("limit", [0.5, 3.0, 77.0, 99.0])
def test_the_rate_found_is_just_below_the_limit(limit):
    found = highest_rate(lambda rate, _: rate <= limit, 100.0, resolution=0.01)
    assert found is not None
    assert limit / 1.01 <= found <= limit


def test_every_answer_was_confirmed_with_other_arrivals():
    tried = []

    def holds(rate, confirms):
        tried.append((rate, confirms))
        return rate <= 40

    found = highest_rate(holds, 100.0)
    assert tried[-1] == (found, True)
    assert [confirms for _, confirms in tried].count(True) == 1


def test_a_rate_that_held_by_luck_is_given_up():
    # Rates up to 60 pass once; what holds when it is tried again are those up to 40.
    found = highest_rate(lambda rate, again: rate <= (40 if again else 60), 100.0, resolution=0.05)
    assert found is not None
    assert found <= 40


def test_where_nothing_holds_there_is_no_rate():
    tried = []
    assert highest_rate(lambda rate, _: bool(tried.append(rate)), 100.0) is None
    assert min(tried) >= 0.05


def test_a_search_ends():
    tried = []

    def never_confirmed(rate, confirms):
        tried.append(rate)
        return not confirms

    assert highest_rate(never_confirmed, 100.0, most=9) is None
    assert 9 <= len(tried) <= 10


@pytest.mark.parametrize("bad", [{"ceiling": 0}, {"resolution": 0}, {"most": 0}])
def test_what_is_no_search_is_refused(bad):
    with pytest.raises(UsageMistake, match="positive"):
        highest_rate(lambda *_: True, **{"ceiling": 1.0, **bad})
