"""`cake-edge bench` where models crash, hang and eat all memory, and where it is killed itself."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
from reference.deadly_models import CRASHES_ON_THE_WAY_IN, healthy, hog, sleeper

LONGEST = 300


def bench(*words: object, **more: Any) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "cake_edge", "bench", *map(str, words), "--seconds", "0.05", "-q"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **more,
    )  # fmt: skip


@pytest.mark.slow
def test_six_models_of_which_one_crashes_one_hangs_and_one_runs_out_of_memory(
    tmp_path: Path,
) -> None:
    (tmp_path / "python").mkdir()
    (tmp_path / "python" / "sitecustomize.py").write_text(CRASHES_ON_THE_WAY_IN, encoding="ascii")
    models = [
        healthy(tmp_path / "a.onnx"), healthy(tmp_path / "crash.onnx"),
        healthy(tmp_path / "b.onnx"), sleeper(tmp_path / "hang.onnx"),
        hog(tmp_path / "hog.onnx"), healthy(tmp_path / "c.onnx"),
    ]  # fmt: skip
    out, begun = tmp_path / "bench.json", time.monotonic()
    run = bench(
        *models, "--timeout", 10, "--out", out,
        env={**os.environ, "PYTHONPATH": str(tmp_path / "python")},
    )  # fmt: skip
    shown, complaint = run.communicate(timeout=LONGEST)
    assert time.monotonic() - begun < LONGEST
    assert run.returncode == 1
    assert "3 of 6 rows failed" in complaint

    rows = {Path(row["path"]).name: row for row in json.loads(out.read_text())["models"]}
    well = ("a.onnx", "b.onnx", "c.onnx")
    assert all(rows[name]["latency_ms"]["p50"] > 0 for name in well)
    assert all(rows[name]["failure"] is None for name in well)
    # They took turns to the end: as many rounds each, and paired with the first.
    assert len({rows[name]["latency_ms"]["n_samples"] for name in well}) == 1
    assert rows["c.onnx"]["speedup"]["paired"] is True
    for name, words in {
        "crash.onnx": "SIGSEGV (segmentation fault) while it was opened",
        "hang.onnx": "no answer for 10 s while it was warmed up",
        "hog.onnx": "out of memory while it was warmed up",
    }.items():
        assert rows[name]["failure"].startswith(words)
        assert rows[name]["latency_ms"] is None
        assert f"failed: {words}" in shown

    pages = tmp_path / "pages"
    words = ["report", out, "--out", pages, "--json", "-q"]
    done = subprocess.run(
        [sys.executable, "-m", "cake_edge", *map(str, words)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert json.loads(done.stdout)["title"] == "3 models measured, 3 not"
    assert "SIGSEGV" in (pages / "bench.md").read_text(encoding="utf-8")


@contextmanager
def killed(run: subprocess.Popen[str], when: Callable[[], bool]) -> Iterator[list[psutil.Process]]:
    """Kills a run as soon as that is so; yields the processes it had."""
    deadline = time.monotonic() + 60
    try:
        while not when() and time.monotonic() < deadline:
            assert run.poll() is None, run.communicate()
            time.sleep(0.05)
        children = psutil.Process(run.pid).children(recursive=True)
        run.send_signal(signal.SIGKILL)
        run.communicate(timeout=30)
        yield children
    finally:
        run.kill()
        run.communicate()


@pytest.mark.slow
def test_a_killed_run_leaves_no_process_and_its_finished_rows(tmp_path: Path) -> None:
    fine, hang = healthy(tmp_path / "a.onnx"), sleeper(tmp_path / "hang.onnx")
    out, journal = tmp_path / "bench.json", tmp_path / "bench.json.rows.jsonl"
    words = (fine, hang, "--no-interleave", "--timeout", 6, "--out", out)

    def one_is_done() -> bool:
        return journal.exists() and journal.read_bytes().count(b"\n") == 2

    with killed(bench(*words), one_is_done) as children:
        # The call that never ends is in native code, and must not keep its process.
        assert psutil.wait_procs(children, timeout=20)[1] == []
    assert not out.exists()
    kept = json.loads(journal.read_text(encoding="ascii").splitlines()[1])["row"]

    again = bench(*words)
    assert again.communicate()[1].count("--resume") == 1
    assert again.returncode == 1

    resumed = bench(*words, "--resume", "--json")
    stdout, complaint = resumed.communicate(timeout=LONGEST)
    assert "finished rows taken up: 1" in complaint
    assert resumed.returncode == 1  # the other one still hangs
    first, second = json.loads(out.read_text(encoding="ascii"))["models"]
    assert first["samples_ms"] == kept["samples_ms"]
    assert second["failure"].startswith("no answer for 6 s")
    assert json.loads(stdout)["models"][0]["latency_ms"] == kept["latency_ms"]
    assert not journal.exists()


@pytest.mark.skipif(sys.platform != "linux", reason="asks for a limit of address space")
def test_memory_that_is_not_granted_costs_the_row(tmp_path: Path) -> None:
    run = bench(healthy(tmp_path / "a.onnx"), "--memory-limit", 128, "--json")
    (row,) = json.loads(run.communicate(timeout=LONGEST)[0])["models"]
    assert row["failure"].startswith("out of memory (--memory-limit 128)")
    assert run.returncode == 1
