"""`cake-edge compare` on results of known samples."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from reference.bench_results import bench_result, bench_row, calls, environment, save

Run = Callable[..., Result]


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return save(tmp_path / "base.json", bench_result(bench_row(calls(2.0))))


@pytest.fixture
def slow(tmp_path: Path) -> Path:
    return save(tmp_path / "slow.json", bench_result(bench_row(calls(2.3, seed=1))))


def test_no_regression_is_exit_code_0(run: Run, base: Path) -> None:
    result = run("compare", base, base)
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines()[-1] == "No regression."


def test_a_regression_is_exit_code_1_with_the_whole_table(run: Run, base: Path, slow: Path) -> None:
    result = run("compare", base, slow)
    assert result.exit_code == 1
    header, _, first, *_ = result.stdout.splitlines()
    assert header.split()[:4] == ["Model", "Measure", "Base", "New"]
    assert first.endswith("WORSE")
    assert "1 of 1 limits broken." in result.stdout
    assert run("compare", base, slow, "--fail-on", "p50:+50%").exit_code == 0


def test_a_model_that_fails_now_is_exit_code_1_with_the_reason(run: Run, tmp_path: Path) -> None:
    def rows(samples: Any, **more: Any) -> dict[str, Any]:
        large = bench_row(samples, batch=4, **more)
        if samples is not None:
            large["latency_ms"]["batch"] = 4
        return bench_result(bench_row(calls(2.0), batch=1), large)

    well = save(tmp_path / "well.json", rows(calls(6.0)))
    lost = save(tmp_path / "lost.json", rows(None, failure="out of memory while it was timed"))
    result = run("compare", well, lost)
    assert result.exit_code == 1
    why = "not measured any more: out of memory while it was timed"
    assert f"student.onnx (batch 4), p50: WORSE: {why}" in result.stdout
    assert run("compare", lost, well).exit_code == 0


def test_json_holds_everything_whatever_the_outcome(run: Run, base: Path, slow: Path) -> None:
    result = run("compare", base, slow, "--json")
    assert result.exit_code == 1
    found = json.loads(result.stdout)
    assert found["verdict"] == "worse"
    assert found["models"][0]["measures"][0]["limit"] == "p50:+5%"


def test_markdown_is_for_a_comment(run: Run, base: Path, slow: Path) -> None:
    result = run("compare", base, slow, "--markdown")
    assert result.exit_code == 1
    assert result.stdout.startswith("### Benchmark: 1 of 1 limits broken\n\n| Model |")


def test_noise_fails_a_strict_comparison_only(run: Run, tmp_path: Path) -> None:
    busy = environment(load_before=9.0)
    new = calls(2.0)
    new[30:] *= 1.1
    words = [
        "compare",
        save(tmp_path / "a.json", bench_result(bench_row(calls(2.0)), environment=busy)),
        save(tmp_path / "b.json", bench_result(bench_row(new), environment=busy)),
    ]
    assert run(*words).exit_code == 0
    assert run(*words, "--strict").exit_code == 1


def test_what_cannot_be_compared_is_exit_code_2(run: Run, base: Path, tmp_path: Path) -> None:
    other = bench_result(bench_row(calls(2.0)), environment=environment(processor="Other"))
    unlike = save(tmp_path / "unlike.json", other)
    foreign = save(tmp_path / "foreign.json", {"a": 1})
    for words, said in (
        ((base, unlike), "processor: Example CPU and Other"),
        ((base, foreign), "no result of `cake-edge bench --out`"),
        ((base, tmp_path / "absent.json"), "absent.json does not exist"),
        ((base, base, "--fail-on", "top1:-0.5"), "top1:-0.5 cannot be judged"),
        ((base, base, "--fail-on", "p50"), "'p50' is no limit"),
        ((base, base, "--json", "--markdown"), "choose one form"),
        ((base,), "Missing argument"),
    ):
        result = run("compare", *words)
        assert result.exit_code == 2, result.output
        assert said in result.stderr
    assert run("compare", base, unlike, "--allow-different").exit_code == 0


def test_an_error_is_an_object_with_json(run: Run, base: Path, tmp_path: Path) -> None:
    found: dict[str, Any] = json.loads(
        run("compare", base, tmp_path / "absent.json", "--json").stdout
    )
    assert (found["kind"], found["exit_code"]) == ("CannotCompare", 2)
