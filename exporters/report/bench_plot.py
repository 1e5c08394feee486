"""The picture of a benchmark: what each model costs in time against what it is worth."""

from __future__ import annotations

import math
from collections.abc import Sequence

from exporters.report import words
from exporters.report.axes import WIDTH, horizontal_axis, label_bubbles, vertical_axis
from exporters.report.bench_lines import Line, dominators
from exporters.report.bench_story import millijoules
from exporters.report.svg import Box, Canvas

__all__ = ["area_measure", "bench_pareto"]

HEIGHT = 380.0
LARGEST, SMALLEST = 24.0, 5.0
"""Radii of bubbles."""


def bench_pareto(lines: Sequence[Line], name: str = "pareto") -> str | None:
    """Accuracy over median latency, area by energy or size; None for fewer than two models.

    Where no two models have an accuracy, the height is the size of the file instead. The lines are
    of one result: times of two machines in one picture would be read against each other.

    Args:
        name: makes the ids of the picture unique within a page.
    """
    above = dominators(lines)
    timed = [index for index, line in enumerate(lines) if line.row.latency is not None]
    height, title, unit, shown = _vertical(lines, timed)
    if len(shown) < 2:
        return None
    canvas, area = Canvas(WIDTH, HEIGHT), Box(56, 14, WIDTH - 10, HEIGHT - 46)
    times = [_p50(lines[index]) for index in shown]
    x = horizontal_axis(canvas, area, times, "median latency, ms (left is better)")
    y = vertical_axis(canvas, area, [height[index] for index in shown], unit)
    canvas.text(area.left + 6, area.top + 12, title, css="tick")
    sizes = _areas([lines[index] for index in shown])
    bubbles = [
        (x(time), y(height[index]), radius)
        for index, time, radius in zip(shown, times, sizes, strict=True)
    ]
    # Large bubbles first, so that none hides a smaller one.
    for at in sorted(range(len(shown)), key=lambda i: -bubbles[i][2]):
        role = "teacher" if lines[shown[at]].row.role == "teacher" else "student"
        beaten = " beaten" if above[shown[at]] is not None else ""
        canvas.circle(*bubbles[at], css=f"bubble {role}{beaten}")
    names = [
        (
            lines[index].short,
            _detail(lines[index]) + (", dominated" if above[index] is not None else ""),
        )
        for index in shown
    ]
    label_bubbles(canvas, area, title, names, bubbles)
    described = "; ".join(
        f"{name}: {words.milliseconds(time)}, {detail}"
        for (name, detail), time in zip(names, times, strict=True)
    )
    return canvas.render(name, f"Median latency and {title.partition(' (')[0]}", described)


def area_measure(lines: Sequence[Line]) -> str:
    """What a bubble's area stands for: energy where all timed models have it, else size."""
    timed = [line for line in lines if line.row.latency is not None]
    known = bool(timed) and all(line.row.energy_mj is not None for line in timed)
    return "energy an inference" if known else "size of the file"


def _vertical(
    lines: Sequence[Line], timed: Sequence[int]
) -> tuple[dict[int, float], str, str, list[int]]:
    """The height of each line, its title, its unit, and which lines have one."""
    top1 = {i: value for i in timed if (value := lines[i].row.top1) is not None}
    if len(top1) >= 2:
        return top1, "top-1 (up is better)", "%", list(top1)
    agreement = {i: value for i in timed if (value := lines[i].row.agreement) is not None}
    if len(agreement) >= 2:
        return agreement, "agreement with the teacher (up is better)", "%", list(agreement)
    sizes = {i: lines[i].row.bytes / 1e6 for i in timed}
    return sizes, "size of the file, MB (down is better)", "", list(sizes)


def _areas(lines: Sequence[Line]) -> list[float]:
    """Radii whose squares are as the measures."""
    energy = area_measure(lines) == "energy an inference"
    values = [(line.row.energy_mj or 0.0) if energy else float(line.row.bytes) for line in lines]
    most = max(values) or 1.0
    return [max(SMALLEST, LARGEST * math.sqrt(max(value, 0) / most)) for value in values]


def _detail(line: Line) -> str:
    energy = line.row.energy_mj
    size = words.size(line.row.bytes)
    return size if energy is None else f"{size}, {millijoules(energy)}"


def _p50(line: Line) -> float:
    return line.row.latency["p50"] if line.row.latency is not None else 0.0
