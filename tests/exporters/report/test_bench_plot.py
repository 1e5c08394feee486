from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from reference.bench_results import bench_result, bench_row, save

from exporters.latency.bench_file import read_bench_file
from exporters.report.bench_lines import Line, bench_lines
from exporters.report.bench_plot import area_measure, bench_pareto


def lines(tmp_path: Path, *rows: dict[str, Any]) -> list[Line]:
    return bench_lines([read_bench_file(save(tmp_path / "x.json", bench_result(*rows)))])


def row(p50: float | None, size: int, **more: Any) -> dict[str, Any]:
    path = f"{size}.onnx"
    samples = None if p50 is None else np.full((2, 5), p50)
    return bench_row(samples, bytes=size, path=path, role=None, **more)


def test_two_timed_models_are_needed(tmp_path: Path) -> None:
    assert bench_pareto(lines(tmp_path, row(1, 10), row(None, 20))) is None


def test_accuracy_is_drawn_where_there_is_one(tmp_path: Path) -> None:
    shown = lines(tmp_path, row(1, 10, top1=80), row(2, 20, top1=90), row(3, 30))
    drawn = str(bench_pareto(shown, "one"))
    assert drawn.count("<circle") == 2
    assert "top-1 (up is better)" in drawn
    assert 'id="one-title"' in drawn


def test_agreement_or_size_stands_in_for_accuracy(tmp_path: Path) -> None:
    agreement = lines(tmp_path, row(1, 10, agreement=80), row(2, 20, agreement=90))
    assert "agreement with the teacher" in str(bench_pareto(agreement))
    assert "size of the file, MB" in str(bench_pareto(lines(tmp_path, row(1, 10), row(2, 20))))


def test_dominated_models_are_marked_in_picture_and_description(tmp_path: Path) -> None:
    drawn = str(bench_pareto(lines(tmp_path, row(1, 10, top1=90), row(2, 20, top1=80))))
    assert drawn.count('class="bubble student beaten"') == 1
    assert "20.onnx: 2.00 ms, 20 B, dominated" in drawn


def test_a_bubble_s_area_is_energy_where_all_have_it(tmp_path: Path) -> None:
    some = lines(tmp_path, row(1, 10, energy_mj=5), row(2, 20))
    every = lines(tmp_path, row(1, 10, energy_mj=8, top1=9), row(2, 20, energy_mj=2, top1=8))
    assert (area_measure(some), area_measure(every)) == (
        "size of the file", "energy an inference",
    )  # fmt: skip
    drawn = str(bench_pareto(every))
    assert 'r="24"' in drawn
    assert 'r="12"' in drawn
