from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from reference.bench_results import bench_result, bench_row, calls, save

from exporters.latency.bench_file import BenchFile, read_bench_file
from exporters.latency.match import match_rows

SAMPLES, SLOW = calls(2.0), calls(2.3, seed=1)


@pytest.fixture
def read(tmp_path: Path) -> Any:
    def read(*rows: dict[str, Any]) -> BenchFile:
        return read_bench_file(save(tmp_path / "x.json", bench_result(*rows)))

    return read


def pairs(base: BenchFile, new: BenchFile) -> list[tuple[str, str, str]]:
    found, _, _ = match_rows(base.rows, new.rows)
    return [(pair.base.path, pair.new.path, pair.matched_by) for pair in found]


def test_rows_are_matched_by_path_then_name_then_role(read: Any) -> None:
    base = read(
        bench_row(SAMPLES, path="a/one.onnx"),
        bench_row(SAMPLES, path="a/two.onnx"),
        bench_row(SAMPLES, path="a/three.onnx", role="teacher"),
    )
    new = read(
        bench_row(SAMPLES, path="b/renamed.onnx", role="teacher"),
        bench_row(SAMPLES, path="b/two.onnx"),
        bench_row(SAMPLES, path="a/one.onnx"),
    )
    assert pairs(base, new) == [
        ("a/one.onnx", "a/one.onnx", "path"),
        ("a/two.onnx", "b/two.onnx", "file name"),
        ("a/three.onnx", "b/renamed.onnx", "role, precision and target"),
    ]


def test_rows_of_another_batch_or_threads_are_other_rows(read: Any) -> None:
    row = bench_row(SAMPLES)
    batched = {**row, "latency_ms": {**row["latency_ms"], "batch": 8}}
    threaded = {**row, "threads": 4}
    found, left, right = match_rows(read(row, batched).rows, read(threaded, batched).rows)
    assert [pair.base.batch for pair in found] == [8]
    assert ([r.threads for r in left], [r.threads for r in right]) == ([None], [4])


def test_rows_of_unknown_role_are_not_alike_for_that(read: Any) -> None:
    base = read(bench_row(SAMPLES, path="a.onnx", role=None, precision=None, target=None))
    new = read(bench_row(SAMPLES, path="b.onnx", role=None, precision=None, target=None))
    assert pairs(base, new) == []


def test_a_file_measured_twice_in_one_run_is_paired_in_order(read: Any) -> None:
    base = read(bench_row(SAMPLES), bench_row(SLOW))
    found, _, _ = match_rows(base.rows, read(bench_row(SAMPLES), bench_row(SLOW)).rows)
    assert [pair.base.latency == pair.new.latency for pair in found] == [True, True]
