from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from reference.bench_results import bench_result, bench_row, calls, environment, save

from exporters.latency.bench_file import read_bench_file
from exporters.latency.compare import Comparison, compare_files
from exporters.latency.limits import parse_limits
from exporters.report.bench_change import (
    change_notes,
    change_table,
    change_title,
    changes_to_markdown,
)

SAMPLES = calls(2.0)


@pytest.fixture
def compare(tmp_path: Path) -> Any:
    def compare(base: dict[str, Any], new: dict[str, Any], limits: str) -> Comparison:
        files = [
            read_bench_file(save(tmp_path / f"{name}.json", result))
            for name, result in (("base", base), ("new", new))
        ]
        return compare_files(*files, parse_limits(limits), allow_different=True)

    return compare


def test_cells_are_in_the_units_people_read(compare: Any) -> None:
    row = bench_row(SAMPLES, top1=90.0, bytes=2_000_000, energy_mj=4.0, rail="VDD_IN")
    worse = {**row, "top1": 89.2, "bytes": 2_500_000, "energy_mj": 5.0}
    found = compare(bench_result(row), bench_result(worse), "top1:-0.5,bytes:+30%")
    cells = {row[1]: row[2:] for row in change_table(found).rows}
    assert cells["top1"] == ("90.0 %", "89.2 %", "\u22120.8 points", "top1:-0.5", "WORSE")
    assert cells["bytes"] == ("2.00 MB", "2.50 MB", "+25.0 %", "bytes:+30%", "ok")
    assert cells["energy"] == ("4 mJ", "5 mJ", "+25.0 %", "", "")
    assert re.fullmatch("\u00b10\\.0 \\[\u2212[0-9.]+, \\+[0-9.]+\\] %", cells["p50"][2])
    assert change_title(found) == "1 of 2 limits broken"


def test_markdown_marks_what_is_worse_and_escapes_names(compare: Any) -> None:
    row = bench_row(SAMPLES, path="a|b<i>.onnx", bytes=10)
    text = changes_to_markdown(
        compare(bench_result(row), bench_result({**row, "bytes": 11}), "bytes:+0%,p50:+5%")
    )
    assert text.startswith("### Benchmark: 1 of 2 limits broken\n")
    (line,) = [line for line in text.splitlines() if "| bytes |" in line]
    assert line.startswith("| a\\|b\\<i\\>.onnx | bytes | 10 B | 11 B | +10.0 % |")
    assert line.endswith("| **WORSE** |")


def test_notes_name_what_a_reader_must_know(compare: Any) -> None:
    other = bench_row(SAMPLES, path="other.onnx", role="teacher")
    moved = bench_row(None, path="new/student.onnx", failure="it hung")
    base = bench_result(bench_row(SAMPLES), other)
    new = bench_result(moved, environment=environment(cores=8))
    said = " | ".join(change_notes(compare(base, new, "p50:+5%")))
    for words in (
        "student.onnx, p50: WORSE: not measured any more: it hung",
        "Not measured alike: cores: 4 and 8",
        "Only in base.json, and not compared: other.onnx",
        "One and the same file in both: student.onnx",
        "student.onnx is compared with student.onnx by file name",
    ):
        assert words in said


def test_noise_is_no_regression_and_is_said(compare: Any) -> None:
    busy = environment(load_before=9.0)
    new = SAMPLES.copy()
    new[30:] *= 1.1
    found = compare(
        bench_result(bench_row(SAMPLES), environment=busy),
        bench_result(bench_row(new), environment=busy),
        "p50:+5%",
    )
    assert not found.worse
    assert change_title(found) == "no regression proven; 1 of 1 limits too noisy to judge"
    assert "load 9 on 4 cores" in " ".join(change_notes(found))
