from __future__ import annotations

from typing import Any

from exporters.report.notes import notes


def test_a_good_run_has_nothing_to_add(report: Any) -> None:
    for stage in report["stages"]:
        stage["skipped"] = False
    assert notes(report) == []


def test_what_was_not_measured_is_said(report: Any) -> None:
    for model in report["models"]:
        model.update(top1=None, latency_ms=None)
    said = notes(report)
    assert said[0] == "Accuracy: not measured: no evaluation data was given."
    assert said[1] == "Latency: not measured: the benchmark was not run."


def test_models_without_a_measure_are_named(report: Any) -> None:
    report["models"][1].update(top1=None, latency_ms=None)
    assert notes(report)[:2] == [
        "Accuracy of Student FP32: not measured: no evaluation data was given.",
        "Latency of Student FP32: not measured: the benchmark was not run.",
    ]


def test_a_poor_student_is_called_poor(report: Any) -> None:
    report["models"][1]["top1"] = 61.3
    assert any(n.startswith("Student FP32 is 32.0 points below the teacher") for n in notes(report))


def test_students_that_are_all_poor_are_said_once(report: Any) -> None:
    report["models"][1]["top1"], report["models"][2]["top1"] = 61.3, 60.3
    said = [note for note in notes(report) if "below the teacher" in note]
    assert len(said) == 1
    assert said[0].startswith("All 2 students are 32.0 to 33.0 points below the teacher")


def test_a_file_for_another_machine_is_told_from_one_that_nobody_timed(report: Any) -> None:
    why = "made for tensorrt, which does not run on this machine"
    report["models"][2].update(latency_ms=None, why_not_timed=why, emulated=True, target="tensorrt")
    said = notes(report)
    assert said[0] == (
        "Student INT8 (tensorrt): made for what does not run on this machine; latency was not "
        "measured, and accuracy was computed in float with values rounded."
    )
    assert not any("benchmark was not run" in note for note in said)
    report["models"][2]["top1"] = None
    assert not any("rounded" in note for note in notes(report))


def test_int8_that_is_slower_or_worse_is_said(report: Any) -> None:
    small = report["models"][2]
    small["top1"] = 84.05
    small["latency_ms"]["p50"] = 0.5
    said = notes(report)
    assert "Student INT8 (ort-x86) is 0.6 points below Student FP32." in said
    assert any("is slower than Student FP32 here (0.500 ms against 0.413 ms)" in n for n in said)


def test_shaky_figures_are_said(report: Any) -> None:
    first, second, third = (model["latency_ms"] for model in report["models"])
    first.update(unstable=True, spread=0.23)
    second.update(unstable=True, spread=None)
    third.update(p99_reliable=False)
    said = " ".join(notes(report))
    assert "Teacher FP32 is unstable: its median moved by 23 %" in said
    assert "Student FP32 is unstable: there are too few calls" in said
    assert "* p99 of Student INT8 (ort-x86) rests on fewer than ten slow calls" in said


def test_warnings_of_the_machine_and_found_stages_are_passed_on(report: Any) -> None:
    report["environment"]["warnings"] = ["the processor is old"]
    assert notes(report) == [
        "The processor is old.",
        "Found from an earlier run and not done again: quantize.",
    ]
