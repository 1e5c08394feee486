"""Small inline SVG: marks, axes, and text that is kept apart. Colours come from CSS classes."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from html import escape

__all__ = [
    "Box",
    "Canvas",
    "linear",
    "linear_ticks",
    "log_ticks",
    "logarithmic",
    "place_label",
    "text_width",
]

GLYPH = 0.6
"""Advance of a wide sans-serif glyph in units of the font size; labels are laid out by it."""

Scale = Callable[[float], float]


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle in picture units, y downwards."""

    left: float
    top: float
    right: float
    bottom: float

    def overlaps(self, other: Box) -> bool:
        """Tells whether the two share any area."""
        return (
            self.left < other.right
            and other.left < self.right
            and self.top < other.bottom
            and other.top < self.bottom
        )

    def inside(self, other: Box) -> bool:
        """Tells whether this lies within `other`."""
        return (
            self.left >= other.left
            and self.right <= other.right
            and self.top >= other.top
            and self.bottom <= other.bottom
        )


class Canvas:
    """Collects marks; every text is escaped here and nowhere else."""

    def __init__(self, width: float, height: float) -> None:
        self.width, self.height = width, height
        self._parts: list[str] = []

    def line(self, x1: float, y1: float, x2: float, y2: float, css: str) -> None:
        """Draws a straight line."""
        self._add("line", css, x1=x1, y1=y1, x2=x2, y2=y2)

    def circle(self, x: float, y: float, radius: float, css: str) -> None:
        """Draws a disc."""
        self._add("circle", css, cx=x, cy=y, r=radius)

    def rect(self, x: float, y: float, width: float, height: float, css: str) -> None:
        """Draws a rectangle; a negative extent is drawn as none."""
        self._add("rect", css, x=x, y=y, width=max(width, 0), height=max(height, 0))

    def polyline(self, points: Iterable[tuple[float, float]], css: str) -> None:
        """Draws a line through points."""
        joined = " ".join(f"{_number(x)},{_number(y)}" for x, y in points)
        self._parts.append(f'<polyline class="{css}" points="{joined}"/>')

    def text(
        self, x: float, y: float, words: str, *, css: str = "label", anchor: str = "start"
    ) -> None:
        """Writes one line of text; y is its baseline."""
        self._parts.append(
            f'<text class="{css}" x="{_number(x)}" y="{_number(y)}" text-anchor="{anchor}">'
            f"{escape(words)}</text>"
        )

    def render(self, name: str, title: str, description: str) -> str:
        """Returns the picture; `name` makes its ids unique within a page."""
        size = f"{_number(self.width)} {_number(self.height)}"
        names = f'aria-labelledby="{name}-title {name}-desc"'
        return "\n".join(
            [
                f'<svg class="chart" viewBox="0 0 {size}" role="img" {names}>',
                f'<title id="{name}-title">{escape(title)}</title>',
                f'<desc id="{name}-desc">{escape(description)}</desc>',
                *self._parts,
                "</svg>",
            ]
        )

    def _add(self, tag: str, css: str, **values: float) -> None:
        attributes = " ".join(f'{name}="{_number(value)}"' for name, value in values.items())
        self._parts.append(f'<{tag} class="{css}" {attributes}/>')


def linear(low: float, high: float, start: float, end: float) -> Scale:
    """Returns a map from [low, high] to [start, end]."""
    span = (high - low) or 1.0
    return lambda value: start + (value - low) / span * (end - start)


def logarithmic(low: float, high: float, start: float, end: float) -> Scale:
    """Returns a map from [low, high] to [start, end] in which equal ratios are equal distances."""
    scale = linear(math.log(low), math.log(high), start, end)
    return lambda value: scale(math.log(value))


def linear_ticks(low: float, high: float, most: int = 5) -> list[float]:
    """Returns at most about `most` round values that cover [low, high], ends included."""
    span = (high - low) or abs(high) or 1.0
    raw = span / most
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= raw * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(index * step, 12) for index in range(first, last + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """Returns 1, 2, 5 times powers of ten that cover [low, high], ends included."""
    steps = [
        factor * 10.0**power
        for power in range(math.floor(math.log10(low)) - 1, math.ceil(math.log10(high)) + 2)
        for factor in (1, 2, 5)
    ]
    first = max(index for index, step in enumerate(steps) if step <= low * 1.001)
    last = min(index for index, step in enumerate(steps) if step >= high * 0.999)
    return [float(f"{step:.6g}") for step in steps[first : last + 1]]


def text_width(words: str, size: float) -> float:
    """A width, in picture units, that the text will not exceed in a common sans-serif font."""
    return GLYPH * size * len(words)


def place_label(
    x: float, y: float, radius: float, extent: tuple[float, float], taken: Sequence[Box], area: Box
) -> Box | None:
    """Finds room for a label of (width, height) near a bubble at (x, y), or returns None."""
    width, height = extent
    for gap in (4.0, 14.0, 28.0, 44.0, 64.0):
        reach = radius + gap
        for dx, dy in ((1, 0), (-1, 0), (0, -1), (0, 1), (1, -1), (1, 1), (-1, -1), (-1, 1)):
            diagonal = 0.75 if dx and dy else 1.0
            left = x + dx * reach * diagonal - (width if dx < 0 else 0 if dx else width / 2)
            top = y + dy * reach * diagonal - (height if dy < 0 else 0 if dy else height / 2)
            box = Box(left, top, left + width, top + height)
            if box.inside(area) and not any(box.overlaps(other) for other in taken):
                return box
    return None


def _number(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".") if value % 1 else f"{value:.0f}"
