from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from reference.bench_results import bench_result, bench_row, calls, environment, save

from exporters.latency.bench_file import BenchFile, read_bench_file
from exporters.latency.likeness import differences, disturbance


def result(tmp_path: Path, **more: Any) -> BenchFile:
    row = more.pop("row", None) or bench_row(calls(1.0))
    return read_bench_file(save(tmp_path / "x.json", bench_result(row, **more)))


def test_equal_settings_do_not_differ(tmp_path: Path) -> None:
    other = environment(load_before=1.9, warnings=["x"], versions={})
    assert differences(result(tmp_path), result(tmp_path, environment=other)) == []


RUNTIME = environment()["runtime"]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"processor": "Other"}, "processor: Example CPU and Other"),
        ({"input": "zeros"}, "input: random and zeros"),
        ({"cores": 8}, "cores: 4 and 8"),
        ({"threads": 2}, "threads: 1 and 2"),
        ({"governor": None}, "frequency governor: performance and not stated"),
        ({"runtime": {**RUNTIME, "version": "9"}}, "runtime: ort 1.20.0 and ort 9"),
        ({"runtime": {**RUNTIME, "providers": ["CUDA", "CPU"]}}, "providers: .* and CUDA, CPU"),
        ({"runtime": {**RUNTIME, "options": {}}}, "runtime option optimise: True and not stated"),
    ],
)
def test_each_difference_is_named(tmp_path: Path, more: dict[str, Any], said: str) -> None:
    found = differences(result(tmp_path), result(tmp_path, environment=environment(**more)))
    assert len(found) == 1
    assert re.fullmatch(said, str(found[0])), str(found[0])


def test_boards_differ_by_power_mode_and_clocks(tmp_path: Path) -> None:
    def board(mode: str, locked: bool) -> dict[str, Any]:
        power = {"number": 0, "name": mode}
        return {"before": {"model": "Orin", "power_mode": power, "clocks_locked": locked}}

    base, new = (result(tmp_path, device=board(*each)) for each in (("15W", True), ("7W", False)))
    assert [str(each) for each in differences(base, new)] == [
        "clocks locked: True and False",
        "power mode: 15W and 7W",
    ]


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({}, None),
        ({"load_before": None, "load_after": None}, None),
        ({"load_before": 2.5}, "load 2.5 on 4 cores before"),
        ({"load_after": 2.9}, None),
        ({"load_after": 3.1}, "load 3.1 on 4 cores after"),
    ],
)
def test_other_work_is_seen_by_the_load(
    tmp_path: Path, more: dict[str, Any], words: str | None
) -> None:
    file = result(tmp_path, environment=environment(**more))
    found = disturbance(file, file.rows[0])
    assert found is None if words is None else words in str(found)


def test_other_work_is_seen_by_the_samples(tmp_path: Path) -> None:
    drifting, waiting = calls(1.0), calls(1.0)
    drifting[100:] *= 1.3
    waiting[::20] = 5.0
    for samples, words in ((drifting, "median moved"), (waiting, "took over 2 medians")):
        file = result(tmp_path, row=bench_row(samples))
        assert words in str(disturbance(file, file.rows[0]))


def test_what_was_not_timed_was_not_disturbed(tmp_path: Path) -> None:
    file = result(tmp_path, row=bench_row(None))
    assert disturbance(file, file.rows[0]) is None
