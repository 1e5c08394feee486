from __future__ import annotations

import pytest

from cake_edge.errors import UsageMistake
from exporters.latency.limits import Limit, parse_limits


def test_limits_are_read_in_order() -> None:
    found = parse_limits("p50:+5%, p99: +10% ,top1:-0.5,bytes:+0%")
    assert [(limit.name, limit.amount, limit.relative) for limit in found] == [
        ("p50", 5.0, True),
        ("p99", 10.0, True),
        ("top1", 0.5, False),
        ("bytes", 0.0, True),
    ]
    assert ",".join(map(str, found)) == "p50:+5%,p99:+10%,top1:-0.5,bytes:+0%"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "'' is no limit"),
        ("p50", "is no limit"),
        ("p50:5%", "is no limit"),
        ("p50:+-5%", "is no limit"),
        ("p50:+5%,", "'' is no limit"),
        ("p50:+nan%", "is no limit"),
        ("p5O:+5%", r"no measure; allowed: p50, .*did you mean p95, p50"),
        ("p50:-5%", r"limits an improvement: p50 gets worse when it grows; did you mean p50:\+5%"),
        ("top1:+0.5", r"gets worse when it falls; did you mean top1:-0.5"),
        ("p50:+5%,p50:+9%", "p50 is limited twice"),
    ],
)
def test_what_is_no_limit_is_told_and_mended(text: str, words: str) -> None:
    with pytest.raises(UsageMistake, match=words):
        parse_limits(text)


def test_an_amount_may_not_be_negative() -> None:
    with pytest.raises(UsageMistake, match="0 or more"):
        Limit(name="p50", amount=-1, relative=True)
