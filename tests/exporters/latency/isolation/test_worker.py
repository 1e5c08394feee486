"""A process that holds one model, as it is asked, waited for and ended."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import psutil
import pytest
from reference.deadly_models import healthy

from cake_edge.errors import ArtifactError, UsageMistake
from exporters.latency.isolation.worker import Setting, Worker, WorkerFailed

START = {"runtime": "ort", "memory_limit_mib": None}
ORT = {"runtime": "ort", "threads": 1, "fixed_batch": 1}


def gone(pid: int) -> bool:
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def test_a_process_answers_until_it_is_closed(tmp_path: Path) -> None:
    with Worker(Setting()) as worker:
        pid = worker._process.pid
        worker.ask("start", "doing", **START)
        path = str(healthy(tmp_path / "a.onnx"))
        assert worker.ask("open", "doing", path=path, **ORT)["runtime"]["threads"] == 1
        assert os.getsid(pid) != os.getsid(0)
    assert gone(pid)
    worker.close()  # once more does no harm


def test_an_error_of_ours_keeps_its_kind_and_ends_the_process(tmp_path: Path) -> None:
    with Worker(Setting()) as worker:
        with pytest.raises(WorkerFailed, match="absent") as caught:
            worker.ask("open", "doing", path=str(tmp_path / "absent.onnx"), **ORT)
        assert type(caught.value.cause) is ArtifactError
        assert gone(worker._process.pid)


def test_silence_ends_the_process() -> None:
    with Worker(Setting(timeout_seconds=0.5)) as worker:
        os.kill(worker._process.pid, signal.SIGSTOP)
        with pytest.raises(WorkerFailed, match=r"no answer for 0\.5 s while it slept"):
            worker.ask("start", "while it slept", **START)
        assert gone(worker._process.pid)


@pytest.mark.parametrize(
    ("number", "words"),
    [(signal.SIGSEGV, "SIGSEGV"), (signal.SIGKILL, "SIGKILL")],
)
def test_a_death_is_told_at_the_next_question(number: int, words: str) -> None:
    with Worker(Setting()) as worker:
        worker.ask("start", "doing", **START)
        worker._process.send_signal(number)
        worker._process.wait()
        with pytest.raises(WorkerFailed, match=words):
            worker.ask("start", "while it lay there", **START)


def test_what_libraries_print_is_no_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import onnxruntime\n"
        "opens = onnxruntime.InferenceSession\n"
        "def session(*a, **k):\n    print('{\"error\": 1}'); return opens(*a, **k)\n"
        "onnxruntime.InferenceSession = session\n",
        encoding="ascii",
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with Worker(Setting()) as worker:
        path = str(healthy(tmp_path / "a.onnx"))
        assert "runtime" in worker.ask("open", "doing", path=path, **ORT)


@pytest.mark.parametrize(
    "wrong",
    [{"timeout_seconds": 0}, {"timeout_seconds": float("nan")}, {"memory_limit_mib": 1}],
)
def test_settings_out_of_range_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(UsageMistake, match=next(iter(wrong))):
        Setting(**wrong)  # type: ignore[arg-type]
