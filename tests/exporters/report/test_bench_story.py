from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from reference.bench_results import bench_result, bench_row, calls, environment, save

from exporters.latency.bench_file import BenchFile, read_bench_file
from exporters.report.bench_lines import bench_lines
from exporters.report.bench_story import (
    bench_facts,
    bench_figures,
    bench_notes,
    bench_table,
    bench_title,
    failure_table,
    latency_table,
)


@pytest.fixture
def read(tmp_path: Path) -> Any:
    def read(*rows: dict[str, Any], name: str = "x", **more: Any) -> BenchFile:
        return read_bench_file(save(tmp_path / f"{name}.json", bench_result(*rows, **more)))

    return read


FAST, SMALL = calls(1.0, rounds=300), calls(2.0, rounds=20)


def test_the_headline_names_the_best_in_each_measure(read: Any) -> None:
    lines = bench_lines(
        [
            read(
                bench_row(FAST, path="fast.onnx", role=None, top1=70.0),
                bench_row(SMALL, path="small.onnx", role=None, bytes=10, top1=80.0),
                bench_row(None, path="dead.onnx", role=None, bytes=1, top1=99.0),
            )
        ]
    )
    found = {figure.label: figure.detail for figure in bench_figures(lines)}
    assert found == {
        "fastest, median": "fast.onnx",
        "smallest file": "small.onnx",
        "most accurate, top-1": "small.onnx",
    }
    assert bench_title(lines) == "2 models measured, 1 not"


def test_one_model_is_not_the_best_of_anything(read: Any) -> None:
    assert bench_figures(bench_lines([read(bench_row(FAST))])) == []


def test_columns_that_nobody_fills_are_left_out(read: Any) -> None:
    assert bench_table(bench_lines([read(bench_row(FAST))])).headers == (
        "Model", "Network", "Parameters", "Size", "Latency p50",
    )  # fmt: skip


def test_failures_carry_their_reason(read: Any) -> None:
    lines = bench_lines([read(bench_row(FAST), bench_row(None, path="x.onnx", failure="it hung"))])
    assert [row[2] for row in failure_table(lines).rows] == ["it hung"]


def test_shaky_figures_are_named(read: Any) -> None:
    drifting = FAST.copy()
    drifting[150:] *= 1.5
    file = read(
        bench_row(drifting, path="a.onnx", role=None),
        bench_row(SMALL, path="b.onnx", role=None),
        environment=environment(warnings=["other work was running"]),
    )
    said = " | ".join(bench_notes([file], bench_lines([file])))
    for words in (
        "while it measured a.onnx", "P99 of b.onnx", "Accuracy is not known",
        "Other work was running.",
    ):  # fmt: skip
        assert words in said


def test_facts_leave_out_what_is_unknown(read: Any) -> None:
    found = dict(bench_facts(read(bench_row(FAST), environment={"cores": 2})))
    assert found["Cores"] == "2"
    assert not {"Board", "Power mode", "Frequency governor", "Load of the machine"} & found.keys()


def test_doubts_of_a_result_are_said_and_those_of_older_ones_found(read: Any) -> None:
    new = read(
        bench_row(SMALL, path="a.onnx", role=None, doubts=["calls scatter"]),
        bench_row(SMALL, path="b.onnx", role=None, doubts=["calls scatter", "the median moved"]),
        bench_row(SMALL, path="c.onnx", role=None),
    )
    said = bench_notes([new], bench_lines([new]))
    assert said[:3] == [
        "Doubt of a.onnx; b.onnx: calls scatter.",
        "Doubt of b.onnx: the median moved.",
        "P99 of c.onnx (marked *) rests on fewer than ten slower calls: an example, not a bound.",
    ]


def test_a_bound_on_p99_has_a_column_where_there_is_one(read: Any) -> None:
    bounded, bare = (bench_lines([read(bench_row(samples))]) for samples in (FAST, SMALL))
    assert "p99 at most" in latency_table(bounded).headers
    assert "p99 at most" not in latency_table(bare).headers


def test_the_input_is_a_fact(read: Any) -> None:
    file = read(bench_row(FAST), environment=environment(input="photos (sha256 12)"))
    assert dict(bench_facts(file))["Input"] == "photos (sha256 12)"
