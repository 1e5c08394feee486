from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import numpy as np
from reference.bench_results import bench_result, bench_row, save

from exporters.latency.bench_file import read_bench_file
from exporters.report.bench_csv import bench_to_csv
from exporters.report.bench_lines import bench_lines


def table(tmp_path: Path, *rows: dict[str, Any]) -> list[dict[str, str]]:
    files = [read_bench_file(save(tmp_path / "x.json", bench_result(*rows)))]
    return list(csv.DictReader(io.StringIO(bench_to_csv(files, bench_lines(files)))))


def test_values_are_whole_and_what_was_not_measured_is_empty(tmp_path: Path) -> None:
    timed = bench_row(np.full((2, 5), 1.23456789), energy_mj=2.5, rail="VDD_IN")
    one, two = table(tmp_path, timed, bench_row(None, path="x.onnx", failure="it hung"))
    assert (one["p50_ms"], one["energy_mj"], one["rail"]) == ("1.23456789", "2.5", "VDD_IN")
    assert (one["p99_reliable"], one["threads"], one["failure"]) == ("false", "1", "")
    assert (two["p50_ms"], two["energy_mj"], two["failure"]) == ("", "", "it hung")


def test_no_text_is_a_formula_and_no_number_a_text(tmp_path: Path) -> None:
    (row,) = table(tmp_path, bench_row(None, path="=1+1,\n.onnx", top1=-0.0))
    assert row["path"] == "'=1+1,\n.onnx"
    assert row["top1"] == "-0.0"
