from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporters.report.svg import (
    Box,
    Canvas,
    linear,
    linear_ticks,
    log_ticks,
    logarithmic,
    place_label,
)


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (0, 2.73, [0, 1, 2, 3]),
        (82.9, 94.7, [82.5, 85, 87.5, 90, 92.5, 95]),
        (5, 5, [5, 6, 7, 8, 9, 10]),
    ],
)
def test_linear_ticks_are_round_and_cover_the_range(
    low: float, high: float, ticks: list[float]
) -> None:
    found = linear_ticks(low, high)
    if low < high:
        assert found == ticks
    assert found[0] <= low
    assert found[-1] >= high


@given(
    st.floats(-1e6, 1e6, allow_subnormal=False),
    st.floats(1e-3, 1e6),
)
def test_linear_ticks_cover_any_range_with_few_values(low: float, span: float) -> None:
    found = linear_ticks(low, low + span)
    assert found[0] <= low + 1e-6 * span
    assert found[-1] >= low + span - 1e-6 * span
    assert 2 <= len(found) <= 8


@given(st.floats(1e-4, 1e4), st.floats(12.0, 1e4))
def test_log_ticks_cover_any_range_with_one_two_five(low: float, ratio: float) -> None:
    found = log_ticks(low, low * ratio)
    assert found[0] <= low * 1.001
    assert found[-1] >= low * ratio * 0.999
    assert {f"{tick:e}"[0] for tick in found} <= {"1", "2", "5"}


def test_scales_map_ends_to_ends() -> None:
    assert [linear(0, 10, 100, 200)(v) for v in (0, 5, 10)] == [100, 150, 200]
    scale = logarithmic(1, 100, 0, 2)
    assert [round(scale(v), 9) for v in (1, 10, 100)] == [0, 1, 2]


def test_text_is_escaped_and_the_picture_is_described() -> None:
    canvas = Canvas(100, 50)
    canvas.text(1, 2, "<b>&\"'")
    canvas.rect(0, 0, -3, 4, "bar")
    root = ET.fromstring(canvas.render("x", "A <title>", "de&scription"))
    assert root.attrib["aria-labelledby"] == "x-title x-desc"
    assert [(c.tag, c.text) for c in root][:3] == [
        ("title", "A <title>"),
        ("desc", "de&scription"),
        ("text", "<b>&\"'"),
    ]
    assert root[3].attrib["width"] == "0"


def test_a_label_finds_room_or_says_there_is_none() -> None:
    area = Box(0, 0, 200, 100)
    first = place_label(100, 50, 10, (60, 20), [], area)
    assert first == Box(114, 40, 174, 60)
    second = place_label(100, 50, 10, (60, 20), [first], area)
    assert second is not None
    assert not second.overlaps(first)
    assert place_label(100, 50, 10, (300, 20), [], area) is None
