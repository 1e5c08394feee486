from __future__ import annotations

import copy
import random
import re
import xml.etree.ElementTree as ET
from typing import Any

import pytest

from exporters.report import plots
from exporters.report.svg import Box, text_width


def texts(svg: str) -> list[Box]:
    """The room each text takes, as the layout reckons it."""
    boxes = []
    for item in ET.fromstring(svg).iter("text"):
        size = 12.0 if item.attrib["class"] == "tick" else 13.0
        width = text_width(item.text or "", size)
        x, y = float(item.attrib["x"]), float(item.attrib["y"])
        left = {"start": x, "middle": x - width / 2, "end": x - width}[item.attrib["text-anchor"]]
        boxes.append(Box(left, y - size * 0.75, left + width, y + size * 0.2))
    return boxes


def assert_apart(svg: str) -> None:
    boxes = texts(svg)
    for index, box in enumerate(boxes):
        for other in boxes[index + 1 :]:
            assert not box.overlaps(other), (box, other)


def test_pareto_names_every_model_and_marks_the_dominated(report: Any) -> None:
    report["models"][1]["top1"] = 80.0
    svg = plots.pareto(report["models"])
    assert svg is not None
    assert_apart(svg)
    for words in ("Teacher FP32", "Student INT8 (ort-x86)", "392 kB, dominated"):
        assert f">{words}<" in svg
    assert svg.count("beaten") == 1
    assert "Student FP32: 80.0 %, 0.413 ms, 392 kB, dominated" in svg


def test_area_of_a_bubble_is_the_size_of_the_file(report: Any) -> None:
    report["models"][1]["bytes"] = report["models"][0]["bytes"] // 4
    svg = plots.pareto(report["models"])
    radii = [float(r) for r in re.findall(r'<circle[^>]* r="([\d.]+)"', svg or "")]
    assert radii[:2] == [24, pytest.approx(12, abs=0.01)]


@pytest.mark.parametrize("seed", range(20))
def test_labels_of_crowded_pictures_stay_apart(report: Any, seed: int) -> None:
    draw = random.Random(seed)
    models = []
    for index in range(draw.randint(2, 7)):
        model = copy.deepcopy(report["models"][index % 3])
        model["top1"] = draw.uniform(80, 82) if seed % 2 else draw.uniform(10, 99)
        model["latency_ms"]["p50"] = draw.uniform(1, 1.3) if seed % 3 else draw.uniform(0.1, 90)
        model["bytes"] = draw.randint(10_000, 10_000_000)
        models.append(model)
    svg = plots.pareto(models)
    assert svg is not None
    assert_apart(svg)


def test_widely_different_latencies_get_a_logarithmic_axis(report: Any) -> None:
    assert "logarithmic" not in (plots.pareto(report["models"]) or "")
    report["models"][0]["latency_ms"]["p50"] = 40.0
    assert "logarithmic" in (plots.pareto(report["models"]) or "")


def test_no_pareto_without_two_measured_models(report: Any) -> None:
    report["models"][0]["top1"] = None
    report["models"][1]["latency_ms"] = None
    assert plots.pareto(report["models"]) is None


def test_latency_bars_say_median_and_p99(report: Any) -> None:
    svg = plots.latency_bars(report["models"])
    assert svg is not None
    assert_apart(svg)
    assert ">Student FP32: 0.413 ms, p99 0.586 ms<" in svg
    for model in report["models"]:
        model["latency_ms"] = None
    assert plots.latency_bars(report["models"]) is None


def test_few_classes_are_named_and_many_are_columns(report: Any) -> None:
    few = plots.class_histogram(report["pool"])
    assert few is not None
    assert_apart(few)
    assert ">Ankle boot<" in few
    many = plots.class_histogram({"class_histogram": [3] * 999 + [9]})
    assert many is not None
    assert_apart(many)
    assert many.count("<rect") == 1000
    assert "from 3 to 9 images a class" in many
    assert plots.class_histogram({}) is None


def test_long_class_names_are_cut_and_escaped() -> None:
    svg = plots.class_histogram({"class_histogram": [1, 2], "labels": ["<script>" * 9, "a"]})
    assert svg is not None
    assert "<script>" not in svg
    assert "\u2026<" in svg


def test_a_long_loss_curve_is_thinned_and_keeps_its_ends() -> None:
    points = [[float(step), 2.0 - step / 10_000] for step in range(10_000)]
    svg = plots.loss_curve(points)
    assert svg is not None
    assert_apart(svg)
    drawn = re.search(r'<polyline[^>]*points="([^"]+)"', svg)
    assert drawn is not None
    pairs = drawn[1].split()
    assert len(pairs) < 300
    assert float(pairs[0].split(",")[0]) == 58
    assert float(pairs[-1].split(",")[0]) == pytest.approx(464, abs=0.1)


@pytest.mark.parametrize("points", [[], [[1.0, 2.0]]])
def test_no_curve_without_two_points(points: list[list[float]]) -> None:
    assert plots.loss_curve(points) is None


def test_a_flat_curve_can_be_drawn() -> None:
    assert plots.loss_curve([[0.0, 0.0], [1.0, 0.0]]) is not None


def test_stage_bars_are_as_long_as_their_seconds(report: Any) -> None:
    svg = plots.stage_costs(report["stages"])
    assert svg is not None
    assert_apart(svg)
    widths = [float(w) for w in re.findall(r'<rect[^>]* width="([\d.]+)"', svg)]
    assert widths[1] / widths[2] == pytest.approx(95.2 / 172.9, rel=0.01)
    assert svg.count('class="bar skipped"') == 1
    assert plots.stage_costs([]) is None


def test_stages_that_took_no_time_can_be_drawn(report: Any) -> None:
    for stage in report["stages"]:
        stage["seconds"] = 0.0
    assert plots.stage_costs(report["stages"]) is not None
