"""What `cake-edge bench` prints for people."""

from __future__ import annotations

from typing import Any

import pytest

from cake_edge.cli.bench_table import short_reason, show_plan, show_rows


def row(path: str = "a.onnx", **more: Any) -> dict[str, Any]:
    latency = {
        "p50": 1.0, "p90": 1.1, "p95": 1.2, "p99": 2.0, "p99_reliable": True, "unstable": False,
        "images_per_second": 1234.5, "batch": 1,
    }  # fmt: skip
    return {
        "path": path, "bytes": 2048, "threads": None, "batch": 1, "latency_ms": latency,
        "speedup": None, "energy": None, "memory_mib": None, "cold_start": None, "foreign": None,
        "failure": None, "doubts": [], **more,
    }  # fmt: skip


def shown(capsys: pytest.CaptureFixture[str], *rows: dict[str, Any]) -> list[str]:
    environment = {"threads": 1, "clock": "one call", "input": "random", "warnings": []}
    found = {"models": list(rows), "best": [], "environment": environment, "advice": ["it is hot"]}
    show_rows(found, "out.json")
    return capsys.readouterr().out.splitlines()


def test_columns_are_there_for_what_is_known_alone(capsys: pytest.CaptureFixture[str]) -> None:
    bare = shown(capsys, row())[0]
    assert bare.split("  ")[-1].strip() == "speed-up"
    full = shown(
        capsys,
        row(
            memory_mib={"peak": 70.4}, cold_start={"total": {"median": 0.512}},
            energy={"rail": "VDD_IN", "millijoules_above_idle": 3.21, "doubts": ["short"]},
        ),
        row(batch=2, memory_mib={"peak": None}),
    )  # fmt: skip
    titles = ("batch", "peak MiB", "cold start s", "mJ above idle")
    assert [title for title in titles if title not in full[0]] == []
    assert [word for word in ("70", "0.51", "3.21 ?") if word not in full[2]] == []
    assert "Energy an inference, measured at VDD_IN." in full


def test_a_failure_is_short_in_the_table_and_whole_below(
    capsys: pytest.CaptureFixture[str],
) -> None:
    why = "SIGSEGV (segmentation fault) while it was opened: last words"
    lost = row("b.onnx", latency_ms=None, failure=why)
    lines = shown(capsys, row(), lost)
    assert lines[3].endswith("failed: SIGSEGV (segmentation fault) while it was opened")
    assert f"Failed: b.onnx: {why}." in lines


def test_a_reason_that_names_its_file_names_it_once() -> None:
    why = "a.onnx is no model: export it again"
    assert short_reason(row(failure=why)) == "is no model"
    assert short_reason(row(failure=None)) == ""
    why = "a.onnx is not a model ORT 1.3 can open ([Error] : 7 : BAD); export it again"
    assert short_reason(row(failure=why)) == "is not a model ORT 1.3 can open"
    assert short_reason(row(cold_start={"failure": "no answer: x"})) == "no answer"


def test_marks_are_explained_where_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    ratio = {"estimate": 2.0, "low": 1.9, "high": 2.1, "paired": False}
    shaky = row("b.onnx", speedup=ratio)
    shaky["latency_ms"] |= {"p99_reliable": False, "unstable": True}
    lines = shown(capsys, row(), shaky)
    assert "2.00x [1.90, 2.10] +" in lines[3]
    assert lines[3].endswith("unstable")
    assert {line[0] for line in lines} >= {"*", "+"}
    assert not {line[0] for line in shown(capsys, row())} & {"*", "+"}


def test_a_foreign_file_of_several_rows_is_noted_once(capsys: pytest.CaptureFixture[str]) -> None:
    other = row("c.onnx", latency_ms=None, foreign="made for tensorrt")
    lines = shown(capsys, row(), other, {**other, "batch": 2})
    assert lines.count("Note: c.onnx was made for tensorrt: not timed.") == 1
    assert lines.count("Note: it is hot.") == 1


def test_a_plan_says_how_long_it_takes(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [{"path": "a.onnx", "runtime": "ort", "threads": 1, "batch": 2}]
    show_plan({"rows": rows, "sweep": False, "estimated_seconds": 200.0})
    said = capsys.readouterr().out
    assert "1 row, about 3 min 20 s" in said


def test_doubts_name_their_rows_and_are_said_once(capsys: pytest.CaptureFixture[str]) -> None:
    both, one = "p99 rests on too few", "the median moved"
    first, second = row("x/a.onnx", doubts=[both, one]), row("x/b.onnx", doubts=[both])
    lines = shown(capsys, first, second)
    assert [line for line in lines if line.startswith("Doubt: ")] == [
        f"Doubt: all rows: {both}.",
        f"Doubt: a.onnx: {one}.",
    ]
    batches = [row("x/a.onnx", batch=batch, doubts=[both][: batch % 2]) for batch in (1, 2, 3)]
    lines = shown(capsys, *batches, row("y/a.onnx"))
    assert f"Doubt: x/a.onnx (batch 1), x/a.onnx (batch 3): {both}." in lines


def test_the_input_is_stated(capsys: pytest.CaptureFixture[str]) -> None:
    assert any(line.startswith("The input was random: ") for line in shown(capsys, row()))
    environment = {"threads": 1, "clock": "one call", "input": "photos (sha256 12)", "warnings": []}
    show_rows({"models": [row()], "best": [], "environment": environment, "advice": []}, shown=None)
    assert "The input was images of photos (sha256 12)." in capsys.readouterr().out
