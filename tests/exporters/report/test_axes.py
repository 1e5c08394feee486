from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest

from exporters.report.axes import horizontal_axis, label_bubbles, vertical_axis
from exporters.report.svg import Box, Canvas

AREA = Box(50, 10, 450, 210)


def marks(canvas: Canvas, tag: str) -> list[ET.Element]:
    """What was drawn, of one kind."""
    return ET.fromstring(canvas.render("x", "t", "d")).findall(tag)


def words(canvas: Canvas) -> list[str]:
    return [text.text or "" for text in marks(canvas, "text")]


@pytest.mark.parametrize(("values", "logarithmic"), [([1.0, 11.0], False), ([1.0, 13.0], True)])
def test_an_axis_of_values_far_apart_is_logarithmic_and_says_so(
    values: list[float], logarithmic: bool
) -> None:
    canvas = Canvas(480, 260)
    scale = horizontal_axis(canvas, AREA, values, "ms")
    assert words(canvas)[-1] == ("ms, logarithmic" if logarithmic else "ms")
    assert AREA.left <= scale(values[0]) < scale(values[1]) <= AREA.right
    assert (scale(2) - scale(1) == pytest.approx(scale(4) - scale(2))) is logarithmic


def test_a_time_of_zero_has_no_logarithm() -> None:
    canvas = Canvas(480, 260)
    scale = horizontal_axis(canvas, AREA, [0.0, 100.0], "ms")
    assert scale(0) == AREA.left
    assert words(canvas)[-1] == "ms"


def test_a_vertical_axis_grows_upwards_and_has_its_unit_on_every_line() -> None:
    canvas = Canvas(480, 260)
    scale = vertical_axis(canvas, AREA, [82.0, 95.0], "%")
    assert AREA.top <= scale(95) < scale(82) <= AREA.bottom
    assert len(words(canvas)) == len(marks(canvas, "line")) > 2
    assert all(word.endswith("%") for word in words(canvas))


@pytest.mark.parametrize("from_zero", [True, False])
def test_a_vertical_axis_begins_at_zero_where_asked(from_zero: bool) -> None:
    canvas = Canvas(480, 260)
    vertical_axis(canvas, AREA, [82.0, 95.0], "", from_zero=from_zero)
    assert ("0" in words(canvas)) is from_zero


def test_equal_values_still_have_an_axis() -> None:
    scale = vertical_axis(Canvas(480, 260), AREA, [5.0, 5.0], "")
    assert AREA.top <= scale(5) <= AREA.bottom


def test_what_is_never_below_zero_has_no_axis_below_zero() -> None:
    canvas = Canvas(480, 260)
    scale = vertical_axis(canvas, AREA, [0.28, 4.94], " MB")
    assert "-2 MB" not in words(canvas)
    assert scale(0) == AREA.bottom
    canvas = Canvas(480, 260)
    vertical_axis(canvas, AREA, [-1.0, 4.0], "")
    assert "-2" in words(canvas)


def test_each_bubble_is_named_with_its_detail_beside_it() -> None:
    canvas = Canvas(480, 260)
    names = [("first", "1 MB"), ("second", "2 MB")]
    label_bubbles(canvas, AREA, "top-1", names, [(120, 120, 10), (330, 120, 10)])
    assert words(canvas) == ["first", "1 MB", "second", "2 MB"]
    assert marks(canvas, "line") == []  # they touch, so nothing need tie them


def test_names_of_bubbles_close_together_do_not_meet_and_are_tied() -> None:
    canvas = Canvas(480, 260)
    bubbles = [(240.0, 110.0, 8.0), (246.0, 112.0, 8.0), (243.0, 106.0, 8.0), (244.0, 115.0, 8.0)]
    names = [(f"model {index}", "1 MB") for index in range(4)]
    label_bubbles(canvas, AREA, "top-1", names, bubbles)
    labels = [text for text in marks(canvas, "text") if (text.text or "").startswith("model")]
    assert len(labels) == 4
    assert len({(text.get("x"), text.get("y")) for text in labels}) == 4
    assert marks(canvas, "line")


def test_a_bubble_without_room_for_its_name_has_none() -> None:
    canvas = Canvas(480, 260)
    label_bubbles(canvas, AREA, "top-1", [("x" * 80, "1 MB")], [(240, 110, 8)])
    assert words(canvas) == []


def test_the_title_in_the_corner_is_not_written_over() -> None:
    places = {}
    for title in ("", "a title as wide as the names would be"):
        canvas = Canvas(480, 260)
        label_bubbles(canvas, AREA, title, [("model", "1 MB")], [(60, 40, 8)])
        (label, _) = marks(canvas, "text")
        places[title] = label.get("y")
    assert len(set(places.values())) == 2
