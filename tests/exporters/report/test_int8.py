from __future__ import annotations

import copy
from typing import Any

import pytest

from exporters.report import words
from exporters.report.html import to_html
from exporters.report.int8 import int8_advice, int8_facts, int8_table
from exporters.report.markdown import to_markdown

FOREIGN = {
    "coverage": {"int8": {"Conv": 13}, "float": {}, "left_float": [], "profiled": False},
    "speed": None,
    "verdict": "quantized",
    "advice": ["tensorrt does not run on this machine"],
}


@pytest.fixture
def two(report: Any) -> Any:
    """The report of a run that also made a file for TensorRT."""
    about = copy.deepcopy(report["quantize"]["ort-x86"])
    del about["over_student_fp32"]
    report["quantize"]["tensorrt"] = {**about, **FOREIGN, "bytes": 119_000}
    return report


def test_each_target_is_a_row_with_what_decides(two: Any) -> None:
    ratio = f"1.79{words.TIMES} [1.77, 1.81]"
    assert int8_table(two).rows == (
        ("ort-x86", "99.2 %", "121 kB", ratio, "12 of 13", "this file"),
        ("tensorrt", "99.2 %", "119 kB", words.UNKNOWN, "13 of 13",
         "this file, once timed on its target"),
    )  # fmt: skip


def test_a_file_in_numbers(report: Any) -> None:
    assert int8_facts(report["quantize"]["ort-x86"]) == [
        ("Same decisions as FP32", "99.2 %, on 128 synthetic images kept apart"),
        ("Speed", f"1.79{words.TIMES} [1.77, 1.81] that of FP32, with its 95 % interval"),
        ("Ranges from", "384 synthetic images, least-error"),
        ("Weighted operators in INT8", "12 of 13"),
        ("In float (its output is not quantized)", "head"),
        ("Done to the model first", "cross-layer, bias"),
        ("Ship", "this file"),
    ]


def test_a_file_that_is_slower_is_not_the_one_to_ship(report: Any) -> None:
    about = report["quantize"]["ort-x86"]
    about["verdict"] = "float"
    assert dict(int8_facts(about))["Ship"] == "the FP32 file: this one is slower here"


def test_a_target_that_does_not_run_here_says_why_it_was_not_timed(two: Any) -> None:
    found = dict(int8_facts(two["quantize"]["tensorrt"]))
    assert found["Speed"] == "not measured: the target does not run on this machine"
    assert found["Weighted operators in INT8"] == "13 of 13, as the file asks of its target"


def test_a_speed_that_nobody_measured_here_is_said(report: Any) -> None:
    about = report["quantize"]["ort-x86"]
    about["speed"] = None
    del about["over_student_fp32"]
    found = dict(int8_facts(about))
    assert found["Speed"] == "not measured"
    assert found["Ship"] == "this file; its speed was not measured"


def test_a_file_of_rounded_weights_alone_has_no_ranges(report: Any) -> None:
    about = report["quantize"]["ort-x86"]
    about["ranges"] = "none"
    found = dict(int8_facts(about))
    assert found["Ranges"] == "none: activations stay float, only weights are rounded"
    assert "Ranges from" not in found


def test_layers_left_in_float_are_named_with_what_they_save_and_many_are_counted(
    report: Any,
) -> None:
    about = report["quantize"]["ort-x86"]
    names = [f"conv{n}" for n in range(9)]
    about["left_float"], about["sensitivity"] = names, {"conv0": 0.0123}
    about["coverage"]["left_float"] = [*names, "head"]
    about["coverage"]["reasons"] = {**dict.fromkeys(names, "another"), "head": "its output"}
    found = dict(int8_facts(about))
    assert found["In float (left in float for accuracy)"] == (
        "conv0 (saves 0.012 nats), conv1, conv2, conv3, conv4, conv5 and 3 more"
    )
    assert found["In float (its output)"] == "head"
    assert "In float (another)" not in found


def test_a_report_of_an_older_run_says_what_it_holds(report: Any) -> None:
    about = report["quantize"]["ort-x86"]
    for name in ("steps", "left_float", "verdict", "advice", "speed", "bytes", "sensitivity"):
        del about[name]
    del about["coverage"]["reasons"]
    (row,) = int8_table(report).rows
    assert row[2:4] == ("121 kB", f"1.79{words.TIMES} [1.77, 1.81]")
    assert row[-1] == words.UNKNOWN
    assert dict(int8_facts(about))["In float (the reason is not known)"] == "head"
    assert int8_advice(about) == []


def test_advice_reaches_both_pages(two: Any, folder: Any) -> None:
    assert int8_advice(two["quantize"]["ort-x86"]) == ["1 operators with weights run in float."]
    for page in (to_markdown(two), to_html(two, folder)):
        assert "tensorrt does not run on this machine." in page
        assert "INT8 for each target" in page


def test_a_page_opens_what_needs_attention(two: Any, folder: Any) -> None:
    assert "<details open" not in to_html(two, folder)
    two["quantize"]["ort-x86"]["verdict"] = "float"
    assert "<details open><summary>ort-x86" in to_html(two, folder)
