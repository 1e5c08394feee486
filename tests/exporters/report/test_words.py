from __future__ import annotations

import pytest

from exporters.report import words


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.00 kB"),
        (121_344, "121 kB"),
        (999_499, "999 kB"),
        (999_600, "1.00 MB"),
        (2_834_120, "2.83 MB"),
        (18_800_000, "18.8 MB"),
        (1_130_000_000, "1.13 GB"),
    ],
)
def test_sizes(value: int, said: str) -> None:
    assert words.size(value) == said


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (0.0123, "0.0123 ms"),
        (0.231, "0.231 ms"),
        (1.92, "1.92 ms"),
        (12.34, "12.3 ms"),
        (123.4, "123 ms"),
        (0.0, "0 ms"),
        (None, "not measured"),
    ],
)
def test_milliseconds(value: float | None, said: str) -> None:
    assert words.milliseconds(value) == said


@pytest.mark.parametrize(
    ("value", "said"),
    [(6.72, "6.7x"), (1.02, "1.02x"), (1.2, "1.2x"), (9.96, "10x"), (23.4, "23x")],
)
def test_times(value: float, said: str) -> None:
    assert words.times(value) == said.replace("x", words.TIMES)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (-1.23, f"{words.MINUS}1.2 points"),
        (0.51, "+0.5 points"),
        (-0.01, f"{words.PLUS_MINUS}0.0 points"),
    ],
)
def test_points(value: float, said: str) -> None:
    assert words.points(value) == said


@pytest.mark.parametrize(
    ("value", "said"),
    [(0.42, "0.4 s"), (9.96, "10 s"), (59.4, "59 s"), (200, "3 min 20 s"), (7500, "2 h 5 min")],
)
def test_seconds(value: float, said: str) -> None:
    assert words.seconds(value) == said


def test_what_is_unknown_is_said_to_be() -> None:
    assert words.percent(None) == words.count(None) == "not measured"
    assert words.percent(84.44) == "84.4 %"
    assert words.count(1_536_000) == "1,536,000"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("slower than float", "Slower than float"),
        ("ort-arm does not run here", "ort-arm does not run here"),
        ("tensorrt does not run here", "tensorrt does not run here"),
        ("", ""),
    ],
)
def test_a_sentence_begins_with_a_capital_unless_with_a_name(given: str, said: str) -> None:
    assert words.capitalised(given) == said
