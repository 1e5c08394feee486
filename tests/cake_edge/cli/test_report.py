"""`cake-edge report` on a small finished run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from reference.bench_results import bench_result, bench_row, calls, save

from cake_edge.provenance import environment
from exporters.report import build_report, write_report


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    model = {
        "role": "teacher",
        "precision": "fp32",
        "target": None,
        "path": "artifacts/teacher.fp32.onnx",
        "bytes": 1000,
        "parameters": 100,
        "top1": None,
        "top5": None,
        "agreement": None,
        "latency_ms": None,
        "n": None,
        "sha256": "0" * 64,
    }
    report = build_report(
        manifest={"command": "cake-edge compress x.toml --out run", "seed": 0},
        stages=[],
        models=[model, {**model, "role": "student", "bytes": 250}],
        environment=environment(),
        data_free={"statement": "No real image was read.", "reads": []},
    )
    write_report(tmp_path, report)
    return tmp_path


def test_the_pages_are_drawn_anew_and_named(run: Callable[..., Result], folder: Path) -> None:
    page = folder / "report.html"
    drawn = page.read_bytes()
    page.unlink()
    result = run("report", folder)
    assert result.exit_code == 0, result.output
    assert page.read_bytes() == drawn
    assert str(page) in result.stdout
    assert "4.0\u00d7 smaller" in result.stdout


def test_json_names_the_three_files(run_json: Callable[..., dict[str, Any]], folder: Path) -> None:
    found = run_json("report", folder)
    assert found["title"] == "4.0\u00d7 smaller, accuracy not measured"
    for name, file in (("json", "json"), ("markdown", "md"), ("html", "html")):
        assert found[name] == str(folder / f"report.{file}")
        assert Path(found[name]).is_file()


def test_a_folder_without_a_report_is_one_sentence(
    run: Callable[..., Result], tmp_path: Path
) -> None:
    result = run("report", tmp_path / "nothing")
    assert result.exit_code == 1
    assert "holds no report.json" in result.stderr


@pytest.fixture
def bench(tmp_path: Path) -> Path:
    return save(tmp_path / "bench.json", bench_result(bench_row(calls(1.0))))


def test_results_of_bench_become_three_pages(
    run_json: Callable[..., dict[str, Any]], bench: Path, tmp_path: Path
) -> None:
    found = run_json("report", bench, bench, "--out", tmp_path / "pages")
    assert found["title"] == "2 models measured"
    for name, file in (("markdown", "md"), ("csv", "csv"), ("html", "html")):
        assert found[name] == str(tmp_path / "pages" / f"bench.{file}")
        assert Path(found[name]).is_file()


def test_sources_and_out_must_fit(
    run: Callable[..., Result], bench: Path, folder: Path, tmp_path: Path
) -> None:
    for words, said in (
        ((bench,), "--out is missing"),
        ((bench, folder, "--out", tmp_path / "x"), "not all are .json files"),
        ((folder, "--out", tmp_path / "x"), "--out and --accuracy are for benchmarks"),
        ((), "Missing argument"),
    ):
        result = run("report", *words)
        assert result.exit_code == 2, result.output
        assert said in result.stderr
    assert not (tmp_path / "x").exists()


def test_a_damaged_result_leaves_no_page(run: Callable[..., Result], tmp_path: Path) -> None:
    damaged = save(tmp_path / "damaged.json", {"schema_version": 1, "models": [{}]})
    result = run("report", damaged, "--out", tmp_path / "x")
    assert result.exit_code == 1
    assert "damaged.json is damaged" in result.stderr
    assert not (tmp_path / "x").exists()


def test_a_run_lends_its_accuracy_to_benchmarks(
    run: Callable[..., Result], bench: Path, tmp_path: Path
) -> None:
    known = save(tmp_path / "report.json", bench_result(bench_row(calls(1.0), top1=87.5)))
    result = run("report", bench, "--accuracy", known, "--out", tmp_path / "pages")
    assert result.exit_code == 0, result.output
    assert "87.5 %" in (tmp_path / "pages" / "bench.md").read_text(encoding="utf-8")
