"""`cake-edge import-trtexec`: the output of a board becomes a result for `report` and `compare`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

LOG = """\
&&&& RUNNING TensorRT.trtexec [TensorRT v100300] [b17] # trtexec --onnx=net.onnx --noDataTransfers
[11/02/2026-10:00:00] [I] Selected Device: Orin
[11/02/2026-10:00:20] [I] Throughput: 480 qps
[11/02/2026-10:00:20] [I] Latency: min = 1.5 ms, max = 9 ms, mean = 2 ms, median = 2 ms, \
percentile(50%) = 2 ms, percentile(90%) = 2.5 ms, percentile(95%) = 2.75 ms, percentile(99%) = 4 ms
[11/02/2026-10:00:20] [W] * GPU compute time is unstable, with coefficient of variance = 4.7%.
&&&& PASSED TensorRT.trtexec [TensorRT v100300] [b17] # trtexec --onnx=net.onnx --noDataTransfers
"""


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    """A folder that trtexec left, and the engine that it timed."""
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "trtexec.log").write_text(LOG.replace("--onnx=net.onnx", "--loadEngine=net.engine"))
    times = [{"latencyMs": 2.0, "h2dMs": 0, "computeMs": 2.0, "d2hMs": 0}] * 20
    (folder / "times.json").write_text(json.dumps(times))
    model = tmp_path / "net.engine"
    model.write_bytes(b"engine")
    return folder, model


def test_the_result_is_shown_and_written(
    run: Callable[..., Result], files: tuple[Path, Path], tmp_path: Path
) -> None:
    out = tmp_path / "orin.json"
    result = run("import-trtexec", files[0], "--model", files[1], "--out", out)
    assert result.exit_code == 0, result.output
    row = next(line for line in result.stdout.splitlines() if "net.engine" in line)
    assert row.split()[1:] == ["1", "2.000", "2.000", "2.000", "2.000", "480", "20"]
    assert "Measured by trtexec on Orin, TensorRT 10.3.0." in result.stdout
    assert "Inside the clock: the network alone, no copies" in result.stdout
    assert "Note: GPU compute time is unstable" in result.stdout
    pages = run("report", out, "--out", tmp_path / "pages")
    assert pages.exit_code == 0, pages.output
    assert "Orin" in (tmp_path / "pages" / "bench.md").read_text(encoding="utf-8")
    again = run("import-trtexec", files[0], "--model", files[1], "--out", out)
    assert again.exit_code == 1
    assert "is a file already" in again.stderr


def test_what_it_printed_is_enough(
    run_json: Callable[..., dict[str, Any]], files: tuple[Path, Path], tmp_path: Path
) -> None:
    (folder, model), out = files, tmp_path / "orin.json"
    found = run_json("import-trtexec", folder / "trtexec.log", "--model", model, "--out", out)
    (row,) = found["models"]
    assert row["latency_ms"]["p99"] == 4
    assert "samples_ms" not in row
    assert json.loads(out.read_text())["models"][0]["samples_ms"] is None


def test_a_run_of_another_file_is_wrong_usage(
    run: Callable[..., Result], files: tuple[Path, Path], tmp_path: Path
) -> None:
    log = tmp_path / "a.log"
    log.write_text(LOG)
    out = tmp_path / "orin.json"
    result = run("import-trtexec", log, "--model", files[1], "--out", out)
    assert result.exit_code == 2
    assert "a run timed net.onnx" in result.stderr
    assert not out.exists()
