from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from cake_edge.errors import ArtifactError
from exporters.report.schema import SCHEMA_VERSION, build_report, validate

REQUIRED = ("manifest", "stages", "models", "environment", "data_free", "images")


def test_a_built_report_is_valid_and_has_its_version(report: dict[str, Any]) -> None:
    parts = {name: value for name, value in report.items() if name != "schema_version"}
    built = build_report(**parts)
    assert built == report
    assert built["schema_version"] == SCHEMA_VERSION


def test_sections_that_are_none_are_left_out(report: dict[str, Any]) -> None:
    parts = {name: report[name] for name in REQUIRED}
    assert "pool" not in build_report(**parts, pool=None)


def test_a_built_report_holds_no_reference_to_its_parts(report: dict[str, Any]) -> None:
    parts = {name: report[name] for name in REQUIRED}
    built = build_report(**parts)
    report["models"][0]["top1"] = -1
    assert built["models"][0]["top1"] == 93.3


@pytest.mark.parametrize("name", REQUIRED)
def test_a_missing_part_is_named(report: dict[str, Any], name: str) -> None:
    del report[name]
    with pytest.raises(ArtifactError, match=f"^{name} is missing"):
        validate(report)


@pytest.mark.parametrize(
    "name", ["role", "precision", "target", "path", "bytes", "parameters", "top1", "n", "sha256"]
)
def test_a_missing_field_of_a_model_is_named(report: dict[str, Any], name: str) -> None:
    del report["models"][1][name]
    with pytest.raises(ArtifactError, match=rf"^models\[1\].{name} is missing"):
        validate(report)


def test_what_was_not_measured_may_be_null(report: dict[str, Any]) -> None:
    for model in report["models"]:
        model.update(top1=None, top5=None, agreement=None, latency_ms=None, n=None, interval95=None)
    validate(report)


def put(*path: str | int, value: Any) -> Callable[[dict[str, Any]], None]:
    def change(report: dict[str, Any]) -> None:
        place: Any = report
        for step in path[:-1]:
            place = place[step]
        place[path[-1]] = value

    return change


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (put("schema_version", value=2), "schema_version is 2; this version"),
        (put("models", 0, "top1", value=101.0), r"models\[0\].top1 is 101.0; it is in percent"),
        (put("models", 0, "agreement", value=-1), r"models\[0\].agreement is -1"),
        (put("models", 0, "bytes", value=-1), r"models\[0\].bytes is -1"),
        (put("models", 0, "path", value="/x.onnx"), r"models\[0\].path is '/x.onnx'"),
        (put("images", 0, "file", value="../x.png"), r"images\[0\].file is '../x.png'"),
        (put("images", 0, "file", value=""), r"images\[0\].file is ''"),
        (put("models", 0, "latency_ms", "p90", value=0.1), r"latency_ms has p50, p90, p95, p99"),
        (put("distill", "loss", value=[[1.0]]), r"distill.loss\[0\] is \[1.0\]"),
        (put("pool", "teacher_confidence", value=1.2), "pool.teacher_confidence is 1.2"),
        (put("distill", "agreement_synthetic", value=150), "agreement_synthetic is 150"),
        (put("stages", 0, "seconds", value="3"), r"stages\[0\].seconds is '3'"),
        (put("quantize", "ort-x86", "verdict", value="ship"), "quantize.ort-x86.verdict is 'ship'"),
        (put("quantize", "ort-x86", "speed", value=2.0), "quantize.ort-x86.speed is 2.0"),
    ],
)
def test_values_out_of_range_are_named(
    report: dict[str, Any], change: Callable[[dict[str, Any]], None], words: str
) -> None:
    change(report)
    with pytest.raises(ArtifactError, match=words):
        validate(report)
