"""What the pictures of a report share: their size, their axes, and the labels of bubbles."""

from __future__ import annotations

import math
from collections.abc import Sequence

from exporters.report.svg import (
    Box,
    Canvas,
    Scale,
    linear,
    linear_ticks,
    log_ticks,
    logarithmic,
    place_label,
    text_width,
)

__all__ = ["LABEL", "TICK", "WIDTH", "horizontal_axis", "label_bubbles", "vertical_axis"]

WIDTH = 480.0
"""Narrow enough to be read on a telephone, where a picture is as wide as the page."""
LABEL, TICK = 13.0, 12.0
"""Sizes of a picture's text."""
LOG_FROM = 12.0
"""An axis whose largest value is this many times its smallest one is logarithmic."""


def horizontal_axis(canvas: Canvas, area: Box, values: Sequence[float], title: str) -> Scale:
    """Draws an axis from zero, or logarithmic where the values differ widely."""
    low, high = min(values), max(values)
    wide = low > 0 and high / low >= LOG_FROM
    ticks = log_ticks(low * 0.8, high * 1.25) if wide else linear_ticks(0, high * 1.15)
    make = logarithmic if wide else linear
    scale = make(ticks[0], ticks[-1], area.left, area.right)
    for tick in ticks:
        canvas.line(scale(tick), area.top, scale(tick), area.bottom, "grid")
        anchor = "end" if tick == ticks[-1] else "middle"
        canvas.text(scale(tick), area.bottom + 18, f"{tick:g}", css="tick", anchor=anchor)
    middle = (area.left + area.right) / 2
    words_ = f"{title}, logarithmic" if wide else title
    canvas.text(middle, area.bottom + 40, words_, css="tick", anchor="middle")
    return scale


def vertical_axis(
    canvas: Canvas, area: Box, values: Sequence[float], unit: str, *, from_zero: bool = False
) -> Scale:
    """Draws an axis around the values, or from zero."""
    low, high = min(values), max(values)
    pad = 0.15 * ((high - low) or 1.0)
    # A size or a percentage is never below zero, and neither is its axis.
    below = max(low - pad, 0.0) if low >= 0 else low - pad
    ticks = linear_ticks(min(low, 0.0) if from_zero else below, high if from_zero else high + pad)
    scale = linear(ticks[0], ticks[-1], area.bottom, area.top)
    for tick in ticks:
        canvas.line(area.left, scale(tick), area.right, scale(tick), "grid")
        canvas.text(area.left - 7, scale(tick) + 4, f"{tick:,.6g}{unit}", css="tick", anchor="end")
    return scale


def label_bubbles(
    canvas: Canvas,
    area: Box,
    title: str,
    names: Sequence[tuple[str, str]],
    bubbles: Sequence[tuple[float, float, float]],
) -> None:
    """Writes a name and a line of detail beside each bubble that has room for them.

    Args:
        title: what stands in the upper left corner, and is not written over.
        names: name and detail of each bubble.
        bubbles: x, y and radius of each.
    """
    taken = [Box(area.left, area.top, area.left + 8 + text_width(title, TICK), area.top + 18)]
    taken += [Box(x - r, y - r, x + r, y + r) for x, y, r in bubbles]
    for (name, detail), (x, y, radius) in zip(names, bubbles, strict=True):
        width = max(text_width(name, LABEL), text_width(detail, TICK))
        box = place_label(x, y, radius, (width, 31.0), taken, area)
        if box is None:
            # The table beside the picture names every model; text on text would name none.
            continue
        taken.append(box)
        _tie(canvas, x, y, radius, box)
        anchor, at = ("end", box.right) if box.right <= x else ("start", box.left)
        canvas.text(at, box.top + 12, name, anchor=anchor)
        canvas.text(at, box.top + 27, detail, css="tick", anchor=anchor)


def _tie(canvas: Canvas, x: float, y: float, radius: float, box: Box) -> None:
    """Ties a label that does not touch its bubble to it."""
    to_x = min(max(x, box.left), box.right)
    to_y = min(max(y, box.top), box.bottom)
    distance = math.hypot(to_x - x, to_y - y)
    if distance > radius + 5:
        share = radius / distance
        canvas.line(x + share * (to_x - x), y + share * (to_y - y), to_x, to_y, "leader")
