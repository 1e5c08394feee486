from __future__ import annotations

from typing import Any

from exporters.report import words
from exporters.report.story import (
    Table,
    facts,
    headline,
    latency_table,
    model_table,
    subtitle,
    title,
)


def plain(text: str) -> str:
    return text.replace(words.TIMES, "x").replace(words.MINUS, "-").replace(words.ARROW, "->")


def test_the_headline_is_smallest_student_against_teacher(report: Any) -> None:
    assert plain(title(report)) == "23x smaller, 8.3x faster, -8.9 points"
    assert [plain(figure.detail) for figure in headline(report)] == [
        "2.83 MB -> 121 kB",
        "1.92 ms -> 0.231 ms, median",
        "93.3 % -> 84.4 %, top-1 on 2,000 images",
    ]
    assert plain(subtitle(report)) == (
        "Teacher FP32, resnet18.fashion -> Student INT8 (ort-x86), test_resnet.small"
    )


def test_the_headline_is_of_a_file_worth_shipping(report: Any) -> None:
    smaller = {**report["models"][2], "target": "tensorrt", "bytes": 90_000, "latency_ms": None}
    report["models"].append(smaller)
    assert plain(title(report)) == "23x smaller, 8.3x faster, -8.9 points"
    report["quantize"]["ort-x86"]["verdict"] = "float"
    assert subtitle(report).endswith("Student FP32, test_resnet.small")
    assert plain(title(report)) == "7.2x smaller, 4.7x faster, -8.6 points"


def test_without_a_paired_ratio_medians_are_compared(report: Any) -> None:
    report["models"][2]["speedup"] = None
    report["models"][2]["latency_ms"]["p50"] = 0.2
    assert plain(headline(report)[1].value) == "9.6x"


def test_a_headline_does_not_hide_what_got_worse(report: Any) -> None:
    student = report["models"][2]
    student.update(bytes=5_668_240, top1=60.0, speedup={"estimate": 0.5, "low": 0.4, "high": 0.6})
    report["models"][1]["bytes"] = 9_000_000
    assert plain(title(report)) == "2.0x larger, 2.0x slower, -33.3 points"
    assert [figure.bad for figure in headline(report)] == [True, True, True]


def test_without_evaluation_data_accuracy_is_said_to_be_unknown(report: Any) -> None:
    for model in report["models"]:
        model.update(top1=None, agreement=None, n=None)
    assert title(report).endswith("accuracy not measured")
    assert headline(report)[-1].detail == "no evaluation data was given"


def test_without_labels_agreement_takes_the_place_of_accuracy(report: Any) -> None:
    for model in report["models"]:
        model["top1"] = None
    assert title(report).endswith("87.1 % agreement with the teacher")


def test_without_a_student_the_title_counts_models(report: Any) -> None:
    report["models"] = report["models"][:1]
    assert headline(report) == []
    assert title(report) == "1 models measured"
    assert subtitle(report) == "Teacher FP32, resnet18.fashion"


def test_the_model_table_shows_every_measure(report: Any) -> None:
    table = model_table(report)
    assert table.headers == (
        *("Model", "Network", "Parameters", "Size", "Top-1", "Agreement"),
        *("Latency p50", "Speed-up"),
    )
    assert table.rows[2] == (
        "Student INT8 (ort-x86)",
        "test_resnet.small",
        "96,154",
        "121 kB",
        f"84.4 % {words.PLUS_MINUS} 1.5",
        "87.1 %",
        "0.231 ms",
        f"8.31{words.TIMES} [8.22, 8.39]",
    )


def test_a_dominated_model_is_remarked(report: Any) -> None:
    report["models"][1].update(top1=80.0)
    table = model_table(report)
    assert table.headers[-1] == "Remark"
    assert [row[-1] for row in table.rows] == ["", "dominated by Student INT8 (ort-x86)", ""]


def test_an_untimed_model_is_left_out_of_the_latency_table(report: Any) -> None:
    report["models"][0]["latency_ms"] = None
    report["models"][1]["latency_ms"] = {"p50": 1.0, "p90": 2.0, "p95": 3.0, "p99": 4.0}
    report["models"][2]["latency_ms"]["p99_reliable"] = False
    rows = latency_table(report).rows
    assert rows[0] == ("Student FP32", "1.00", "2.00", "3.00", "4.00", "", "", "", "", "steady")
    assert rows[1][4].endswith(" *")


def test_columns_of_numbers_are_known_from_their_cells() -> None:
    table = Table(headers=("a", "b", "c"), rows=(("1", "2", "x"), ("y", "not measured", "3")))
    assert table.numbers() == [False, True, False]


def test_facts_tell_how_to_measure_the_same_again(report: Any) -> None:
    found = dict(facts(report))
    assert found["Command"] == "cake-edge demo --out runs/demo"
    assert found["Processor"] == "Example CPU, 2 cores"
    assert found["Threads a model"] == "1"
    assert "onnxruntime 1.20.0" in found["Versions"]
    assert found["Runtime"] == "ort 1.20.0 CPUExecutionProvider"
    assert found["Inside the clock"].startswith("one inference call")
