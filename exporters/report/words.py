"""Numbers as a person reads them; Markdown, HTML and pictures say them alike."""

from __future__ import annotations

import math

__all__ = [
    "ARROW",
    "MINUS",
    "PLUS_MINUS",
    "TIMES",
    "UNKNOWN",
    "capitalised",
    "count",
    "milliseconds",
    "percent",
    "points",
    "seconds",
    "size",
    "times",
]

TIMES = "\u00d7"
MINUS = "\u2212"
PLUS_MINUS = "\u00b1"
ARROW = "\u2192"
UNKNOWN = "not measured"
NAMES = ("tensorrt",)
"""Targets whose name does not look like one."""


def capitalised(sentence: str) -> str:
    """Returns a sentence with a capital first; a name such as ort-x86 stays as it is written."""
    first = sentence.partition(" ")[0]
    return sentence if "-" in first or first in NAMES else sentence[:1].upper() + sentence[1:]


def size(value: int) -> str:
    """Returns bytes in decimal units with three digits: 157 kB, 1.05 MB."""
    if value < 1000:
        return f"{value} B"
    for unit, scale in (("kB", 1e3), ("MB", 1e6), ("GB", 1e9)):
        if value < 999.5 * scale or unit == "GB":
            return f"{_three_digits(value / scale)} {unit}"
    raise AssertionError(value)


def milliseconds(value: float | None) -> str:
    """Returns a latency in milliseconds with three digits."""
    return UNKNOWN if value is None else f"{_three_digits(value)} ms"


def percent(value: float | None) -> str:
    """Returns a percentage with one decimal."""
    return UNKNOWN if value is None else f"{value:.1f} %"


def points(difference: float) -> str:
    """Returns a difference of two percentages in points, with its sign."""
    rounded = round(difference, 1)
    sign = MINUS if rounded < 0 else "+" if rounded > 0 else PLUS_MINUS
    return f"{sign}{abs(rounded):.1f} points"


def times(ratio: float) -> str:
    """Returns a factor: 6.7x below ten, 23x above, with a multiplication sign."""
    if ratio < 9.95:
        digits = 1 if abs(ratio - 1) >= 0.05 else 2
        return f"{ratio:.{digits}f}{TIMES}"
    return f"{ratio:.0f}{TIMES}"


def count(value: int | None) -> str:
    """Returns a whole number with commas between thousands."""
    return UNKNOWN if value is None else f"{value:,}"


def seconds(value: float) -> str:
    """Returns a duration: 0.4 s, 48 s, 3 min 20 s, 2 h 5 min."""
    if value < 9.95:
        return f"{value:.1f} s"
    whole = round(value)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def _three_digits(value: float) -> str:
    if value == 0:
        return "0"
    rounded = float(f"{value:.3g}")
    decimals = max(0, 2 - math.floor(math.log10(abs(rounded))))
    return f"{rounded:.{min(decimals, 4)}f}"
