"""Runs of trtexec and the files they timed become a result that is read like one of `bench`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cake_edge.errors import ArtifactError, UsageMistake
from cake_edge.provenance import sha256_file, write_json
from exporters.artifact import ModelCard
from exporters.latency.bench_file import BenchFile, read_bench_file
from exporters.latency.compare import compare_files
from exporters.latency.limits import parse_limits
from exporters.trtexec import bench_from_trtexec

Leave = Callable[..., Path]
Print = Callable[..., str]


@pytest.fixture
def other(float_file: Path, tmp_path: Path) -> Path:
    """The same network under another name."""
    path = tmp_path / "other.onnx"
    path.write_bytes(float_file.read_bytes())
    return path


def read_back(path: Path, runs: list[Path], models: list[Path]) -> BenchFile:
    write_json(path, bench_from_trtexec(runs, models))
    return read_bench_file(path)


def test_a_run_and_its_file_are_one_row(
    leave: Leave, print_log: Print, float_file: Path, card: ModelCard, tmp_path: Path
) -> None:
    run = leave(log=print_log(words=f"--onnx=models/{float_file.name}"))
    found = read_back(tmp_path / "orin.json", [run], [float_file])
    (row,) = found.rows
    assert (row.path, row.bytes) == (str(float_file), float_file.stat().st_size)
    assert row.sha256 == sha256_file(float_file)
    assert (row.role, row.precision, row.target) == (card.role, card.precision, card.target)
    assert row.samples_ms is not None
    assert row.samples_ms.shape == (1200, 1)
    assert found.device == {"model": "Orin", "tensorrt": "10.3.0"}


def test_each_run_finds_its_file_by_name(
    leave: Leave, print_log: Print, other: Path, tmp_path: Path
) -> None:
    models = [tmp_path / "one.onnx", tmp_path / "two.onnx"]
    for model in models:
        model.write_bytes(other.read_bytes())
    runs = [leave(m.stem, log=print_log(words=f"--onnx={m.name}")) for m in reversed(models)]
    found = read_back(tmp_path / "orin.json", runs, models)
    assert [row.name for row in found.rows] == ["two.onnx", "one.onnx"]


@pytest.mark.parametrize("log", ["--loadEngine=other.engine", None])
def test_one_run_without_a_file_name_is_of_the_one_model(
    leave: Leave, print_log: Print, other: Path, log: str | None, tmp_path: Path
) -> None:
    run = leave(log=None if log is None else print_log(words=log))
    (row,) = read_back(tmp_path / "orin.json", [run], [other]).rows
    assert row.path == str(other)


def test_an_engine_is_a_model_too(leave: Leave, print_log: Print, tmp_path: Path) -> None:
    engine = tmp_path / "a.engine"
    engine.write_bytes(b"engine")
    run = leave(log=print_log(words="--loadEngine=engines/a.engine"))
    (row,) = read_back(tmp_path / "orin.json", [run], [engine]).rows
    assert (row.bytes, row.role) == (6, None)


def test_a_printed_summary_is_a_row_without_samples(
    leave: Leave, print_log: Print, other: Path, tmp_path: Path
) -> None:
    run = leave(times=None, log=print_log(words=f"--onnx={other.name}"))
    (row,) = read_back(tmp_path / "orin.json", [run], [other]).rows
    assert row.samples_ms is None
    assert row.latency is not None
    assert row.latency["p50"] == 2


@pytest.mark.parametrize(("slower", "worse"), [(1.0, 0), (1.2, 1)])
def test_two_results_are_compared(
    leave: Leave, print_log: Print, other: Path, tmp_path: Path, slower: float, worse: int
) -> None:
    random, files = np.random.default_rng(1), []
    for name, factor in (("base", 1.0), ("new", slower)):
        steps = {"h2dMs": 0.0, "d2hMs": 0.0}
        times: list[dict[str, Any]] = [
            {"latencyMs": ms, "computeMs": ms, **steps}
            for ms in (factor * random.gamma(400, 0.005, 800)).tolist()
        ]
        run = leave(name, times=times, log=print_log(words=f"--onnx={other.name}"))
        files.append(read_back(tmp_path / f"{name}.json", [run], [other]))
    found = compare_files(files[0], files[1], parse_limits("p50:+5%"))
    assert found.count("worse") == worse


def test_a_run_and_a_model_that_do_not_belong_together_are_refused(
    leave: Leave, print_log: Print, other: Path, float_file: Path
) -> None:
    run = leave(log=print_log(words="--onnx=else.onnx"))
    with pytest.raises(UsageMistake, match=r"timed else\.onnx, and what is given is .*--model"):
        bench_from_trtexec([run], [other])
    fits = leave("fits", log=print_log(words=f"--onnx={other.name}"))
    with pytest.raises(UsageMistake, match="no run timed"):
        bench_from_trtexec([fits], [other, float_file])
    with pytest.raises(UsageMistake, match="several of that name"):
        bench_from_trtexec([fits], [other, other.parent / "x" / other.name])


def test_a_model_that_is_not_there_is_one_sentence(
    leave: Leave, print_log: Print, tmp_path: Path
) -> None:
    for name in ("gone.onnx", "gone.engine"):
        run = leave(name, log=print_log(words=f"--onnx={name}"))
        with pytest.raises(ArtifactError, match="does not exist"):
            bench_from_trtexec([run], [tmp_path / name / name])
