from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from reference.bench_results import bench_result, bench_row, calls, environment, save

from exporters.latency.bench_file import BenchFile, read_bench_file
from exporters.latency.compare import (
    CannotCompare,
    Comparison,
    compare_files,
    compare_samples,
)
from exporters.latency.limits import parse_limits

SAMPLES, SLOW = calls(2.0), calls(2.3, seed=1)


@pytest.fixture
def read(tmp_path: Path) -> Any:
    def read(*rows: dict[str, Any], name: str = "x", **more: Any) -> BenchFile:
        return read_bench_file(save(tmp_path / f"{name}.json", bench_result(*rows, **more)))

    return read


def compare(base: BenchFile, new: BenchFile, limits: str = "p50:+5%", **more: Any) -> Comparison:
    return compare_files(base, new, parse_limits(limits), **more)


def verdicts(found: Comparison) -> dict[str, str]:
    ((_, judged),) = found.pairs
    return {each.name: each.verdict for each in judged}


def test_a_slower_model_is_worse_and_another_is_not(read: Any) -> None:
    assert compare(read(bench_row(SAMPLES)), read(bench_row(SLOW))).worse
    assert not compare(read(bench_row(SLOW)), read(bench_row(SAMPLES))).worse


def test_measures_without_a_limit_are_shown_where_there_are_values(read: Any) -> None:
    base, new = read(bench_row(SAMPLES, top1=90.0)), read(bench_row(SLOW, top1=80.0))
    assert verdicts(compare(base, new, "p90:+50%")) == {
        "p90": "ok", "p50": "shown", "p99": "shown", "bytes": "shown", "top1": "shown",
    }  # fmt: skip


def test_sizes_accuracies_and_energies_are_held_to_their_limits(read: Any) -> None:
    base = read(bench_row(SAMPLES, top1=90.0, energy={"millijoules": 4.0, "rail": "VDD_IN"}))
    new = read(
        bench_row(SAMPLES, top1=89.0, bytes=1001, energy={"millijoules": 4.1, "rail": "VDD_IN"})
    )
    found = verdicts(compare(base, new, "top1:-0.5,bytes:+0%,energy:+5%"))
    assert (found["top1"], found["bytes"], found["energy"]) == ("worse", "worse", "ok")


def test_a_report_without_samples_is_held_to_accuracy_alone(read: Any) -> None:
    row = bench_row(SAMPLES, top1=90.0)
    del row["samples_ms"]
    assert not compare(read(row), read(row), "top1:-0.5,bytes:+0%").worse
    with pytest.raises(CannotCompare, match=r"p50:\+5% cannot be judged .*no samples in base"):
        compare(read(row), read(row))


def test_a_limit_that_nothing_is_held_to_is_refused(read: Any) -> None:
    file = read(bench_row(SAMPLES))
    with pytest.raises(CannotCompare, match=r"top1:-0.5 cannot be judged .*no top1 in base and"):
        compare(file, file, "p50:+5%,top1:-0.5")


def test_a_model_that_does_not_run_any_more_is_worse(read: Any) -> None:
    found = compare(read(bench_row(SAMPLES)), read(bench_row(None, failure="it hung")))
    assert found.worse
    ((_, judged),) = found.pairs
    assert judged[0].why == "not measured any more: it hung"


def test_unlike_environments_are_refused_by_name_unless_allowed(read: Any) -> None:
    base = read(bench_row(SAMPLES))
    new = read(bench_row(SAMPLES), environment=environment(cores=8, threads=2))
    with pytest.raises(CannotCompare, match=r"cores: 4 and 8; threads: 1 and 2.*--allow-differ"):
        compare(base, new)
    found = compare(base, new, allow_different=True)
    assert [each.name for each in found.differences] == ["cores", "threads"]


def test_results_without_a_common_model_are_refused(read: Any) -> None:
    other = bench_row(SAMPLES, path="other.onnx", role="teacher")
    with pytest.raises(CannotCompare, match=r"no model in common; the first holds .*student"):
        compare(read(bench_row(SAMPLES)), read(other))


def test_ambiguous_rows_are_left_unmatched_and_listed(read: Any) -> None:
    base = read(bench_row(SAMPLES, path="a.onnx"), bench_row(SAMPLES, path="b.onnx"))
    new = read(bench_row(SAMPLES, path="b.onnx"), *(bench_row(SAMPLES, path=p) for p in "cd"))
    found = compare(base, new)
    assert [pair.new.path for pair, _ in found.pairs] == ["b.onnx"]
    assert [row.path for row in found.only_base] == ["a.onnx"]
    assert [row.path for row in found.only_new] == ["c", "d"]


def test_everything_goes_into_the_json_and_equal_seeds_give_equal_bytes(read: Any) -> None:
    base, new = read(bench_row(SAMPLES), name="base"), read(bench_row(SLOW), name="new")
    found = compare(base, new).to_dict()
    assert json.dumps(found, allow_nan=False) == json.dumps(compare(base, new).to_dict())
    assert (found["verdict"], found["limits"]) == ("worse", ["p50:+5%"])
    (model,) = found["models"]
    assert (model["matched_by"], model["same_bytes"]) == ("path", True)
    p50 = model["measures"][0]
    assert p50["change"]["low"] <= p50["change"]["estimate"] <= p50["change"]["high"]
    assert (p50["measure"], p50["unit"], p50["verdict"]) == ("p50", "ms", "worse")


def test_samples_can_be_compared_without_files() -> None:
    (change,) = compare_samples(SAMPLES, SLOW, parse_limits("p50:+5%"))
    assert change.verdict == "worse"


def test_of_several_batches_the_one_that_fails_now_is_worse(read: Any) -> None:
    def rows(large: Any, **more: Any) -> list[dict[str, Any]]:
        small = bench_row(SAMPLES, batch=1)
        found = bench_row(large, batch=4, **more)
        if found["latency_ms"] is not None:
            found["latency_ms"]["batch"] = 4
        return [small, found]

    base = read(*rows(SAMPLES), name="base")
    found = compare(base, read(*rows(None, failure="out of memory"), name="new"))
    assert [(pair.new.batch, judged[0].verdict) for pair, judged in found.pairs] == [
        (1, "ok"), (4, "worse"),
    ]  # fmt: skip
    assert found.pairs[1][1][0].why == "not measured any more: out of memory"
    # And it is no regression to run again.
    assert not compare(read(*rows(None, failure="x"), name="old"), base).worse


def test_energy_of_a_model_that_does_not_run_any_more_is_worse(read: Any) -> None:
    base = read(bench_row(SAMPLES, energy={"millijoules": 4.0, "rail": "VDD_IN"}))
    lost = read(bench_row(None, failure="it hung"), name="new")
    assert verdicts(compare(base, lost, "energy:+5%"))["energy"] == "worse"
    with pytest.raises(CannotCompare, match=r"energy:\+5% cannot be judged"):
        compare(base, read(bench_row(SAMPLES), name="unmetered"), "energy:+5%")
