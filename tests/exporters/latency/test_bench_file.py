from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from reference.bench_results import bench_result, bench_row, calls, save

from cake_edge.errors import ArtifactError
from exporters.latency.bench_file import read_bench_file, with_accuracy


def test_a_result_is_read_whole(tmp_path: Path) -> None:
    samples = calls(2.0, rounds=12)
    path = save(tmp_path / "x.json", bench_result(bench_row(samples, top1=91.5)))
    found = read_bench_file(path)
    (row,) = found.rows
    assert np.array_equal(row.samples_ms, samples)  # type: ignore[arg-type]
    assert (row.name, row.top1, row.batch, row.failure) == ("student.onnx", 91.5, 1, None)
    assert found.environment["processor"] == "Example CPU"
    assert (found.device, found.host) == (None, None)


def test_what_a_board_says_of_itself_is_read(tmp_path: Path) -> None:
    energy = {
        "rail": "VDD_IN",
        "millijoules": 7.5,
        "millijoules_uncertainty": 0.2,
        "millijoules_above_idle": 3.1,
    }
    device = {"before": {"model": "Orin"}, "after": {}}
    result = bench_result(
        bench_row(calls(1.0), energy=energy), device=device, host={"target": "user@orin"}
    )
    found = read_bench_file(save(tmp_path / "x.json", result))
    assert (found.device, found.host) == ({"model": "Orin"}, "user@orin")
    (row,) = found.rows
    assert (row.energy_mj, row.rail, row.energy_above_idle_mj) == (7.5, "VDD_IN", 3.1)


def test_an_energy_may_stand_in_the_row_itself(tmp_path: Path) -> None:
    result = bench_result(bench_row(calls(1.0), energy_mj=5.5, rail="VDD_CPU"))
    (row,) = read_bench_file(save(tmp_path / "x.json", result)).rows
    assert (row.energy_mj, row.rail, row.energy_uncertainty_mj) == (5.5, "VDD_CPU", None)


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"failure": "it hung"}, "it hung"),
        ({"foreign": "made for tensorrt"}, "it was made for tensorrt"),
        ({"why_not_timed": "no time"}, "no time"),
        ({}, "no reason is given"),
    ],
)
def test_a_row_without_latency_says_why(tmp_path: Path, more: dict[str, Any], why: str) -> None:
    path = save(tmp_path / "x.json", bench_result(bench_row(None, **more)))
    assert read_bench_file(path).rows[0].failure == why


def broken(**change: Any) -> dict[str, Any]:
    return bench_result({**bench_row(calls(1.0, rounds=4)), **change})


@pytest.mark.parametrize(
    ("result", "words"),
    [
        ({"count": 3}, "no result of `cake-edge bench --out`: it has no schema_version"),
        ({"schema_version": 1}, "it has no models"),
        ({**bench_result(), "schema_version": 9}, "schema_version 9; .* reads 1"),
        (bench_result(), "holds no model"),
        ({**bench_result(), "models": {}}, "damaged: models is {}; it must be a list"),
        ({"schema_version": 1, "models": []}, "environment is missing"),
        (broken(bytes="7"), r"models\[0\].bytes is '7'; it must be a whole number"),
        (broken(bytes=-1), r"models\[0\].bytes is -1"),
        (broken(path=None), r"models\[0\].path is None"),
        (broken(samples_ms=[[1.0], [1.0, 2.0]]), "rounds of one length"),
        (broken(samples_ms=[[1.0], ["x"]]), "rounds of one length"),
        (broken(doubts="x"), r"models\[0\].doubts is 'x'; it must be a list"),
        (broken(doubts=[1]), r"models\[0\].doubts\[0\] is 1; it must be text"),
        (broken(samples_ms=[]), "rounds of one length"),
        (broken(samples_ms=[[-1.0]]), "rounds of one length"),
        (broken(samples_ms=[[7.0]]), r"p50 is 1.*, but its samples have 7"),
        (broken(latency_ms={"p50": 1}), r"latency_ms.p90 is missing"),
        ({**bench_result(), "device": []}, "device is \\[\\]; it must be an object"),
    ],
)
def test_a_damaged_or_foreign_file_is_one_sentence(
    tmp_path: Path, result: dict[str, Any], words: str
) -> None:
    with pytest.raises(ArtifactError, match=words) as caught:
        read_bench_file(save(tmp_path / "x.json", result))
    assert "x.json" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_missing_or_no_json_is_named(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"x.json does not exist"):
        read_bench_file(tmp_path / "x.json")
    (tmp_path / "y.json").write_text("{", encoding="utf-8")
    with pytest.raises(ArtifactError, match=r"y.json is not readable as JSON"):
        read_bench_file(tmp_path / "y.json")


def test_accuracy_is_taken_from_rows_about_the_same_bytes(tmp_path: Path) -> None:
    def row(digest: str, **more: Any) -> dict[str, Any]:
        return bench_row(calls(1.0, rounds=4), sha256=digest * 64, **more)

    bench, first, second = (
        read_bench_file(save(tmp_path / f"{name}.json", bench_result(*rows)))
        for name, rows in {
            "bench": (row("a"), row("b"), row("c", top1=50.0), row("d")),
            "first": (row("a", top1=91.0, agreement=97.0), row("c", top1=60.0), row("d")),
            "second": (row("a", top1=1.0), row("b", agreement=88.0)),
        }.items()
    )
    found = with_accuracy(bench, [first, second]).rows
    assert [(r.top1, r.agreement) for r in found] == [
        (91.0, 97.0), (None, 88.0), (50.0, None), (None, None),
    ]  # fmt: skip


def test_doubts_are_read_and_a_file_older_than_them_too(tmp_path: Path) -> None:
    rows = bench_row(calls(1.0), doubts=["it shook"]), bench_row(calls(1.0), doubts=[])
    path = save(tmp_path / "x.json", bench_result(*rows, bench_row(calls(1.0))))
    assert [row.doubts for row in read_bench_file(path).rows] == [("it shook",), (), None]


def test_a_failed_row_keeps_its_batch(tmp_path: Path) -> None:
    path = save(tmp_path / "x.json", bench_result(bench_row(None, failure="it hung", batch=4)))
    assert read_bench_file(path).rows[0].batch == 4
