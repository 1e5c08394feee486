"""The pictures of a report, each drawn from its data alone."""

from __future__ import annotations

import math
from collections.abc import Sequence

from exporters.report import words
from exporters.report.axes import (
    LABEL,
    TICK,
    WIDTH,
    horizontal_axis,
    label_bubbles,
    vertical_axis,
)
from exporters.report.pareto import dominators
from exporters.report.schema import Latency, Model, Pool, Stage
from exporters.report.story import model_name
from exporters.report.svg import (
    Box,
    Canvas,
    linear,
    linear_ticks,
    text_width,
)

__all__ = ["class_histogram", "latency_bars", "loss_curve", "pareto", "stage_costs"]

TOP1 = "top-1 (up is better)"
NAMED_CLASSES = 20
"""Up to here every class gets a bar with its name; beyond, a column a class."""
CURVE_POINTS = 240


def pareto(models: Sequence[Model]) -> str | None:
    """Top-1 over median latency, area by bytes; None where fewer than two models have both."""
    above = dominators(models)
    shown = [
        (model, latency, top1, better is not None)
        for model, better in zip(models, above, strict=True)
        if (latency := model["latency_ms"]) is not None and (top1 := model["top1"]) is not None
    ]
    if len(shown) < 2:
        return None
    height = 360.0
    canvas, area = Canvas(WIDTH, height), Box(52, 14, WIDTH - 10, height - 46)
    times = [latency["p50"] for _, latency, _, _ in shown]
    x = horizontal_axis(canvas, area, times, "median latency, ms (left is better)")
    y = vertical_axis(canvas, area, [top1 for _, _, top1, _ in shown], "%")
    canvas.text(area.left + 6, area.top + 12, TOP1, css="tick")
    largest = max(model["bytes"] for model, _, _, _ in shown) or 1
    bubbles = [
        (x(latency["p50"]), y(top1), max(5.0, 24 * math.sqrt(model["bytes"] / largest)))
        for model, latency, top1, _ in shown
    ]
    # Large bubbles first, so that none hides a smaller one.
    for index in sorted(range(len(shown)), key=lambda i: -bubbles[i][2]):
        model, _, _, beaten = shown[index]
        canvas.circle(*bubbles[index], css=f"bubble {_css(model)}{' beaten' if beaten else ''}")
    names = [
        (model_name(model), words.size(model["bytes"]) + (", dominated" if beaten else ""))
        for model, _, _, beaten in shown
    ]
    label_bubbles(canvas, area, TOP1, names, bubbles)
    description = "; ".join(
        f"{model_name(model)}: {words.percent(top1)}, {_p50(latency)}, {words.size(model['bytes'])}"
        f"{', dominated' if beaten else ''}"
        for model, latency, top1, beaten in shown
    )
    return canvas.render("pareto", "Accuracy, latency and size", description)


def latency_bars(models: Sequence[Model]) -> str | None:
    """Median as a bar with a line to p99, one row a model; None where nothing was timed."""
    rows = [(model, model["latency_ms"]) for model in models]
    timed = [(model, latency) for model, latency in rows if latency is not None]
    if not timed:
        return None
    row, top = 46.0, 4.0
    canvas = Canvas(WIDTH, row * len(timed) + 34)
    longest = max(latency["p99"] for _, latency in timed)
    ticks = linear_ticks(0, longest * 1.02)
    x = linear(0, ticks[-1], 2, WIDTH - 10)
    bottom = top + row * len(timed)
    for tick in ticks:
        canvas.line(x(tick), top, x(tick), bottom, "grid")
        anchor = "start" if tick == 0 else "end" if tick == ticks[-1] else "middle"
        canvas.text(x(tick), bottom + 16, f"{tick:g}", css="tick", anchor=anchor)
    canvas.text(WIDTH / 2, bottom + 30, "ms a call", css="tick", anchor="middle")
    for index, (model, latency) in enumerate(timed):
        y = top + row * index
        said = f"{model_name(model)}: {_p50(latency)}, p99 {words.milliseconds(latency['p99'])}"
        canvas.text(6, y + 14, said)
        canvas.rect(2, y + 20, x(latency["p50"]) - 2, 16, f"span {_css(model)}")
        canvas.line(x(latency["p50"]), y + 28, x(latency["p99"]), y + 28, f"whisker {_css(model)}")
        canvas.line(x(latency["p99"]), y + 22, x(latency["p99"]), y + 34, f"whisker {_css(model)}")
    description = "; ".join(
        f"{model_name(model)}: median {_p50(latency)}, "
        f"99th percentile {words.milliseconds(latency['p99'])}"
        for model, latency in timed
    )
    return canvas.render("latency", "Latency of one call", description)


def class_histogram(pool: Pool) -> str | None:
    """Images a class by the teacher's class; None where the pool says nothing of it."""
    counts = pool.get("class_histogram")
    if not counts:
        return None
    labels = pool.get("labels") or [str(index) for index in range(len(counts))]
    even = sum(counts) / len(counts)
    draw = _bars_by_name if len(counts) <= NAMED_CLASSES else _columns
    canvas = draw(counts, labels, even)
    low, high = min(counts), max(counts)
    description = (
        f"{len(counts)} classes, from {words.count(low)} to {words.count(high)} images a class; "
        f"an even share is {even:,.0f}"
    )
    return canvas.render("classes", "Images a class, by the teacher's class", description)


def loss_curve(points: Sequence[Sequence[float]]) -> str | None:
    """Loss over steps; None for fewer than two points."""
    if len(points) < 2:
        return None
    height = 260.0
    canvas, area = Canvas(WIDTH, height), Box(58, 14, WIDTH - 16, height - 46)
    curve = _thin(points)
    values = [loss for _, loss in curve]
    y = vertical_axis(canvas, area, values, "", from_zero=True)
    last = curve[-1][0]
    ticks = linear_ticks(0, last)
    x = linear(0, max(last, 1), area.left, area.right)
    for tick in ticks:
        if tick <= last:
            canvas.text(x(tick), area.bottom + 18, f"{tick:,.0f}", css="tick", anchor="middle")
    middle = (area.left + area.right) / 2
    canvas.text(middle, height - 6, "loss by training step", css="tick", anchor="middle")
    canvas.polyline([(x(step), y(loss)) for step, loss in curve], "curve")
    description = f"from {points[0][1]:.3g} at step {points[0][0]:,.0f} to {points[-1][1]:.3g}"
    return canvas.render("loss", "Loss of the student", f"{description} at step {last:,.0f}")


def stage_costs(stages: Sequence[Stage]) -> str | None:
    """Seconds a stage as bars; None where there is no stage."""
    if not stages:
        return None
    rows = [(stage["name"], stage["seconds"], _cost(stage), stage["skipped"]) for stage in stages]
    name = min(150.0, max(text_width(row[0], LABEL) for row in rows) + 10)
    value = max(text_width(row[2], TICK) for row in rows) + 8
    canvas = Canvas(WIDTH, 30.0 * len(rows) + 6)
    x = linear(0, max(row[1] for row in rows), 0, WIDTH - name - value)
    for index, (label, seconds, cost, skipped) in enumerate(rows):
        top = 30.0 * index + 4
        canvas.text(name - 8, top + 16, _short(label, name - 8, LABEL), anchor="end")
        length = max(x(seconds), 1.5)
        canvas.rect(name, top + 2, length, 18, "bar skipped" if skipped else "bar")
        canvas.text(name + length + 7, top + 16, cost, css="tick")
    description = "; ".join(f"{label}: {cost}" for label, _, cost, _ in rows)
    return canvas.render("stages", "What each stage cost", description)


def _cost(stage: Stage) -> str:
    memory = stage["peak_memory_bytes"]
    words_ = [words.seconds(stage["seconds"])]
    if memory is not None:
        words_.append(words.size(memory))
    if stage["skipped"]:
        words_.append("found")
    return ", ".join(words_)


def _bars_by_name(counts: Sequence[int], labels: Sequence[str], even: float) -> Canvas:
    row = 24.0
    canvas = Canvas(WIDTH, row * len(counts) + 30)
    left = min(170.0, max(text_width(label, LABEL) for label in labels) + 12)
    right = WIDTH - max(text_width(words.count(value), TICK) for value in counts) - 10
    x = linear(0, max(max(counts), even), left, right)
    for index, (label, value) in enumerate(zip(labels, counts, strict=False)):
        top = row * index
        canvas.text(left - 8, top + 15, _short(label, left - 10, LABEL), anchor="end")
        canvas.rect(left, top + 3, x(value) - left, row - 8, "bar")
        canvas.text(WIDTH - 2, top + 15, words.count(value), css="tick", anchor="end")
    _even_line(canvas, x(even), 0, row * len(counts), even)
    return canvas


def _columns(counts: Sequence[int], labels: Sequence[str], even: float) -> Canvas:
    height = 240.0
    canvas, area = Canvas(WIDTH, height), Box(52, 14, WIDTH - 10, height - 46)
    y = vertical_axis(canvas, area, [*(float(value) for value in counts), even], "", from_zero=True)
    width = (area.right - area.left) / len(counts)
    for index, value in enumerate(counts):
        canvas.rect(
            area.left + index * width,
            y(value),
            max(width * 0.86, 0.3),
            area.bottom - y(value),
            "bar",
        )
    canvas.line(area.left, y(even), area.right, y(even), "even")
    canvas.text(area.left, area.bottom + 18, "class 0", css="tick")
    canvas.text(area.right, area.bottom + 18, f"{len(counts) - 1}", css="tick", anchor="end")
    canvas.text(
        (area.left + area.right) / 2,
        height - 6,
        f"dashed: an even share, {even:,.0f} images",
        css="tick",
        anchor="middle",
    )
    return canvas


def _even_line(canvas: Canvas, x: float, top: float, bottom: float, even: float) -> None:
    canvas.line(x, top, x, bottom, "even")
    canvas.text(
        min(x, WIDTH - 110),
        bottom + 20,
        f"dashed: even share, {even:,.0f}",
        css="tick",
        anchor="middle",
    )


def _thin(points: Sequence[Sequence[float]]) -> list[tuple[float, float]]:
    """At most a few hundred points, each the mean of its neighbours; the ends stay."""
    if len(points) <= CURVE_POINTS:
        return [(float(step), float(loss)) for step, loss in points]
    width = -(-len(points) // CURVE_POINTS)
    groups = [points[start : start + width] for start in range(0, len(points), width)]
    means = [(float(g[-1][0]), math.fsum(loss for _, loss in g) / len(g)) for g in groups]
    return [(float(points[0][0]), float(points[0][1])), *means]


def _short(label: str, room: float, size: float) -> str:
    most = max(2, int(room / text_width("x", size)))
    return label if len(label) <= most else f"{label[: most - 1]}\u2026"


def _p50(latency: Latency) -> str:
    return words.milliseconds(latency["p50"])


def _css(model: Model) -> str:
    return "teacher" if model["role"] == "teacher" else "student"
