"""The plot of samplers at equal budgets: agreement with the teacher over what a pool costs.

    python -m benchmarks.paper.plot benchmarks/results/samplers-cifar10.json

Draws a results file anew, into an SVG beside it. The lines bear their names, in colours that people
tell apart who see no red or green (Okabe and Ito, "Color universal design", 2008).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from cake_edge.provenance import atomic_path, read_json
from exporters.report.svg import Box, Canvas, Scale, linear, linear_ticks, logarithmic

__all__ = ["plot", "spread", "write_plot"]

WIDTH, HEIGHT, NAMES = 760.0, 470.0, 246.0
LINE = 18.0
"""From a name to the one below it."""
TICK_ROOM = 64.0
COLOURS = {
    "cake": "#000000",
    "cake-paper": "#d55e00",
    "lake": "#e69f00",
    "deep-inversion": "#0072b2",
    "data-impressions": "#cc79a7",
    "cmi": "#56b4e9",
    "gdfq": "#009e73",
    "forward-only": "#767676",
}
OTHER = "#6f5500"
STYLE = """<style>
text { font: 13px system-ui, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; fill: #222 }
.tick { fill: #555 } .title { font-size: 15px; font-weight: 600 } .name.main { font-weight: 700 }
.paper { fill: #fff } .grid { stroke: #e3e1db; stroke-width: 1 }
.curve { fill: none; stroke-width: 2; stroke-linejoin: round }
.curve.main { stroke-width: 4 } .statistics { stroke-dasharray: 8 5 }
.free { stroke-dasharray: 1.5 5; stroke-linecap: round } .leader { stroke-width: 1; opacity: .6 }
</style>"""

Point = tuple[float, float]


def plot(said: Mapping[str, Any]) -> str:
    """Returns the picture of a results file, as SVG."""
    lines = _lines(said)
    steps, shares = ([p[i] for line in lines.values() for p in line] for i in (0, 1))
    canvas = Canvas(WIDTH, HEIGHT)
    area = Box(58, 66, WIDTH - NAMES, HEIGHT - 82)
    canvas.rect(0, 0, WIDTH, HEIGHT, "paper")
    title = f"Agreement with the teacher on the real test images of {said['dataset']}"
    canvas.text(14, 26, title, css="title")
    canvas.text(14, 47, _conditions(said), css="tick")
    x = _budgets(canvas, area, [*steps, *said["budgets"]], sorted(said["budgets"]))
    y = _percent(canvas, area, shares)
    drawn = {
        name: [(x(step), y(share)) for step, share in line]
        # `cake` last, so that no line hides it.
        for name, line in sorted(lines.items(), key=lambda item: item[0] == "cake")
    }
    for name, points in drawn.items():
        canvas.polyline(points, f"curve {_css(name, said)}")
        for at in points:
            canvas.circle(*at, 5 if name == "cake" else 3.5, f"dot {_css(name, said)}")
    _names(canvas, area, drawn, {name: line[-1][1] for name, line in lines.items()}, said)
    _key(canvas, said, lines)
    described = "; ".join(
        f"{name}: " + ", ".join(f"{share:.1f} % at {step:,.0f}" for step, share in line)
        for name, line in lines.items()
    )
    svg = canvas.render("samplers", title, described)
    colours = "".join(
        f".{name} {{ stroke: {colour} }} .dot.{name} {{ fill: {colour} }}\n"
        for name, colour in ((name, COLOURS.get(name, OTHER)) for name in lines)
    )
    style = STYLE.replace("</style>", f"{colours}</style>")
    opening, _, rest = svg.partition("\n")
    alone = f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH:.0f}" height="{HEIGHT:.0f}" '
    return "\n".join([opening.replace("<svg ", alone), style, rest, ""])


def write_plot(path: Path, said: Mapping[str, Any]) -> None:
    """Writes the picture; where no sampler has a point there is none."""
    if _lines(said):
        with atomic_path(path) as temporary:
            temporary.write_text(plot(said), encoding="utf-8")


def spread(wanted: Sequence[float], low: float, high: float) -> list[float]:
    """Returns heights for names, as near to the wanted ones as lets none touch another.

    Names are pushed down from the top, then up from the bottom; they stay within [low, high] where
    there is room for all of them.
    """
    order = sorted(range(len(wanted)), key=lambda index: wanted[index])
    heights = [min(max(wanted[index], low), high) for index in order]
    for index in range(1, len(heights)):
        heights[index] = max(heights[index], heights[index - 1] + LINE)
    if heights and heights[-1] > high:
        heights[-1] = high
        for index in reversed(range(len(heights) - 1)):
            heights[index] = min(heights[index], heights[index + 1] - LINE)
    return [heights[order.index(index)] for index in range(len(wanted))]


def _lines(said: Mapping[str, Any]) -> dict[str, list[Point]]:
    """Cost in image-steps and mean agreement of every sampler that was measured."""
    return {
        name: [(float(p["total"]), float(p["agreement"]["mean"])) for p in one["points"]]
        for name, one in said["samplers"].items()
        if one["points"]
    }


def _free(name: str, said: Mapping[str, Any]) -> bool:
    return all(point["image_steps"] == 0 for point in said["samplers"][name]["points"])


def _css(name: str, said: Mapping[str, Any]) -> str:
    kinds = [name]
    if said["samplers"][name]["uses_statistics"]:
        kinds.append("statistics")
    if _free(name, said):
        kinds.append("free")
    if name == "cake":
        kinds.append("main")
    return " ".join(kinds)


def _conditions(said: Mapping[str, Any]) -> str:
    student, training, seeds = said["student"], said["training"], len(said["seeds"])
    over = f"mean of {seeds} seeds" if seeds > 1 else "one seed"
    work = f"{training['steps']:,} steps of {training['batch']} views"
    return f"student {student['name']}, {work} for every point, {over}"


def _budgets(canvas: Canvas, area: Box, steps: Sequence[float], budgets: Sequence[int]) -> Scale:
    """A logarithmic axis whose ticks are the budgets, as many of them as have room."""
    scale = logarithmic(0.9 * min(steps), 1.1 * max(steps), area.left, area.right)
    last = -TICK_ROOM
    for budget in budgets:
        at = scale(budget)
        canvas.line(at, area.top, at, area.bottom, "grid")
        if at - last >= TICK_ROOM:
            canvas.text(at, area.bottom + 19, f"{budget:,}", css="tick", anchor="middle")
            last = at
    middle = (area.left + area.right) / 2
    words = "image-steps that the pool costs, a look counted as 0.4 (logarithmic)"
    canvas.text(middle, area.bottom + 39, words, css="tick", anchor="middle")
    return scale


def _percent(canvas: Canvas, area: Box, shares: Sequence[float]) -> Scale:
    low, high = min(shares), max(shares)
    pad = max(1.0, 0.08 * (high - low))
    ticks = linear_ticks(max(0.0, low - pad), min(100.0, high + pad))
    scale = linear(ticks[0], ticks[-1], area.bottom, area.top)
    for tick in ticks:
        canvas.line(area.left, scale(tick), area.right, scale(tick), "grid")
        canvas.text(area.left - 8, scale(tick) + 4, f"{tick:g} %", css="tick", anchor="end")
    return scale


def _names(
    canvas: Canvas,
    area: Box,
    drawn: Mapping[str, Sequence[Point]],
    shares: Mapping[str, float],
    said: Mapping[str, Any],
) -> None:
    """The names stand at the right, each tied to the end of its line."""
    ends = {name: points[-1] for name, points in drawn.items()}
    heights = spread([end[1] for end in ends.values()], area.top, area.bottom)
    for (name, (x, y)), height in zip(ends.items(), heights, strict=True):
        left = area.right + 24
        canvas.line(x + 6, y, left, height, f"leader {name}")
        canvas.polyline([(left, height), (left + 24, height)], f"curve {_css(name, said)}")
        main = " main" if name == "cake" else ""
        canvas.text(left + 31, height + 4.5, f"{name} {shares[name]:.1f} %", css=f"name{main}")


def _key(canvas: Canvas, said: Mapping[str, Any], lines: Mapping[str, Any]) -> None:
    """What the kinds of lines mean, for those that there are."""
    words = []
    if any(said["samplers"][name]["uses_statistics"] for name in lines):
        words.append("dashed: uses BatchNorm statistics")
    if any(_free(name, said) for name in lines):
        words.append("dotted: takes no image-steps, looks alone")
    canvas.text(14, HEIGHT - 14, "; ".join(words), css="tick")


@click.command()
@click.argument("results", type=click.Path(path_type=Path, exists=True, dir_okay=False))
def main(results: Path) -> None:
    """Draws RESULTS anew, into an SVG file beside it."""
    write_plot(results.with_suffix(".svg"), read_json(results))


if __name__ == "__main__":
    main()
