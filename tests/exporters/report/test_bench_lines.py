from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from reference.bench_results import bench_result, bench_row, calls, environment, save

from exporters.latency.bench_file import BenchFile, read_bench_file
from exporters.report.bench_lines import bench_lines, dominators, machine_names


@pytest.fixture
def read(tmp_path: Path) -> Any:
    def read(*rows: dict[str, Any], name: str = "x", **more: Any) -> BenchFile:
        return read_bench_file(save(tmp_path / f"{name}.json", bench_result(*rows, **more)))

    return read


def row(p50: float | None, size: int, **more: Any) -> dict[str, Any]:
    return bench_row(None if p50 is None else np.full((2, 5), p50), bytes=size, **more)


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([row(1, 10, top1=9)], [None]),
        ([row(1, 10, top1=9), row(2, 20, top1=9)], [None, 0]),
        ([row(1, 20, top1=9), row(2, 10, top1=9)], [None, None]),
        ([row(1, 10, top1=9), row(1, 10, top1=9)], [None, None]),
        ([row(1, 10, top1=80), row(2, 20, top1=90)], [None, None]),
        ([row(1, 10, top1=90), row(2, 20, top1=80)], [None, 0]),
        # Of a model whose accuracy is not known nothing can be said.
        ([row(1, 10), row(2, 20)], [None, None]),
        ([row(1, 10, top1=80), row(2, 20)], [None, None]),
        ([row(1, 10, agreement=80), row(2, 20, agreement=70)], [None, 0]),
        ([row(1, 10, agreement=80), row(2, 20, agreement=90)], [None, None]),
        ([row(1, 10, top1=9, energy_mj=9), row(2, 20, top1=9, energy_mj=3)], [None, None]),
        ([row(1, 10, top1=9, energy_mj=9), row(2, 20, top1=9)], [None, 0]),
        ([row(None, 10, top1=9), row(2, 20, top1=9)], [None, None]),
    ],
)
def test_a_model_is_dominated_by_one_that_is_nowhere_worse(
    read: Any, rows: list[dict[str, Any]], expected: list[int | None]
) -> None:
    assert dominators(bench_lines([read(*rows)])) == expected


def test_results_and_batches_are_not_held_against_each_other(read: Any) -> None:
    slow, fast = row(2, 20, top1=9), row(1, 10, top1=9)
    batched = {**slow, "latency_ms": {**slow["latency_ms"], "batch": 8}}
    assert dominators(bench_lines([read(fast, batched)])) == [None, None]
    lines = bench_lines([read(fast, name="a"), read(slow, name="b")])
    assert dominators(lines) == [None, None]


def test_equal_names_are_told_apart_by_what_differs(read: Any) -> None:
    base = bench_row(calls(1.0), role=None)
    batched = {**base, "latency_ms": {**base["latency_ms"], "batch": 8}}
    other = bench_row(calls(1.0), path="x/other.onnx", role=None)
    names = [line.name for line in bench_lines([read(base, batched, other)])]
    assert names == ["student.onnx, batch 1", "student.onnx, batch 8", "other.onnx"]
    names = [line.name for line in bench_lines([read(base, base)])]
    assert names == ["student.onnx, 1", "student.onnx, 2"]


def test_the_same_model_on_two_machines_is_told_apart_by_machine(read: Any) -> None:
    one = read(bench_row(calls(1.0)), name="one")
    two = read(bench_row(calls(1.0)), name="two", environment=environment(processor="Other"))
    lines = bench_lines([one, two])
    assert [line.name for line in lines] == ["Student FP32, Example CPU", "Student FP32, Other"]
    assert [line.short for line in lines] == ["Student FP32"] * 2
    same = bench_lines([one, one])
    assert len({line.name for line in same}) == 2


def test_settings_of_one_machine_are_told_apart(read: Any) -> None:
    def told(*environments: dict[str, Any]) -> list[str]:
        rows = bench_row(calls(1.0))
        return machine_names(
            [read(rows, name=f"r{i}", environment=e) for i, e in enumerate(environments)]
        )

    assert told(environment(), environment(threads=2)) == [
        "Example CPU, 1 threads", "Example CPU, 2 threads",
    ]  # fmt: skip
    runtime = {**environment()["runtime"], "version": "9"}
    assert told(environment(), environment(runtime=runtime)) == [
        "Example CPU (r0.json)", "Example CPU (r1.json)",
    ]  # fmt: skip


def test_a_board_is_named_by_its_module_and_power_mode(read: Any) -> None:
    device = {"before": {"model": "Kit", "module": "Orin NX", "power_mode": {"name": "25W"}}}
    assert machine_names([read(bench_row(calls(1.0)), device=device)]) == ["Orin NX, 25W"]
