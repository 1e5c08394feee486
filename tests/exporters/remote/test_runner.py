"""The program on the other machine, called here."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from exporters.remote import runner
from exporters.remote.runner import PROGRESS, main


@pytest.fixture(autouse=True)
def untouched(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", "before")


def called(capsys, *words):
    """(exit code, stdout, stderr) of a call."""
    code = 0
    try:
        main([str(word) for word in words])
    except SystemExit as ended:
        code = int(ended.code or 0)
    said = capsys.readouterr()
    return code, said.out, said.err


SHORT = '{"seconds": 0.05, "energy_seconds": 0}'


def test_probe_tells_of_the_machine_and_its_packages(capsys):
    code, out, _ = called(capsys, "probe", "--json")
    found = json.loads(out)
    assert code == 0
    assert found["executable"] == sys.executable
    assert found["packages"]["onnxruntime"]["works"] is True
    assert "CPUExecutionProvider" in found["packages"]["onnxruntime"]["providers"]
    assert found["device"]["kind"]


def test_bench_prints_one_object_and_tells_its_progress(capsys, float_file):
    code, out, err = called(
        capsys, "bench", "--json", "--options", SHORT, "--models", float_file, float_file
    )
    found = json.loads(out)
    assert code == 0
    assert len(found["models"]) == 2
    lines = [line for line in err.splitlines() if line.startswith(PROGRESS)]
    assert json.loads(lines[-1].removeprefix(PROGRESS))[:3] == ["latency", 100, 100]
    assert len(lines) < 5


def test_a_person_gets_words(capsys, float_file):
    code, out, _ = called(capsys, "bench", "--options", SHORT, "--models", float_file)
    assert code == 0
    assert f"{float_file}: p50 " in out
    _, out, _ = called(capsys, "probe")
    assert "numpy: " in out


def test_words_tell_of_energy_and_advice():
    row = {
        "path": "m.onnx",
        "latency_ms": {"p50": 1.0, "p99": 2.0},
        "energy": {"mean_watts": 5.5, "millijoules": 12.5},
        "failure": None,
    }
    lost = {"path": "n.onnx", "latency_ms": None, "energy": None, "failure": "SIGSEGV"}
    device = {"model": "Board", "kind": "jetson", "system": None}
    found = {"device": {"after": device}, "models": [row, lost], "advice": ["it is hot"]}
    assert runner._in_words(found).splitlines() == [
        "Board, unknown system",
        "m.onnx: p50 1.000 ms, p99 2.000, 5.50 W, 12.500 mJ an inference",
        "n.onnx: failed: SIGSEGV",
        "Note: it is hot",
    ]


def test_an_error_is_a_sentence_and_an_object(capsys, tmp_path):
    code, out, err = called(capsys, "bench", "--json", "--models", tmp_path / "no.onnx")
    found = json.loads(out)
    assert (code, found["exit_code"], found["kind"]) == (1, 1, "ArtifactError")
    assert "no.onnx does not exist" in found["error"]
    assert f"error: {found['error']}\n" in err
    code, out, _ = called(capsys, "bench", "--models", tmp_path / "no.onnx")
    assert (code, out) == (1, "")


def test_a_package_that_ends_its_process_is_told(tmp_path, monkeypatch):
    (tmp_path / "fatal.py").write_text("import os\nos.abort()\n")
    (tmp_path / "broken.py").write_text("raise ImportError('libnothing.so is missing')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert "signal 6" in runner._probe_package("fatal")["problem"]
    assert "libnothing.so is missing" in runner._probe_package("broken")["problem"]
    assert "No module named" in runner._probe_package("absent_here")["problem"]


def test_a_package_that_hangs_is_told(tmp_path, monkeypatch):
    (tmp_path / "slow.py").write_text("import time\ntime.sleep(60)\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(runner, "PROBE_SECONDS", 0.5)
    assert runner._probe_package("slow")["problem"] == "did not load in 0.5 s"


def test_children_find_what_is_bundled(capsys, tmp_path):
    called(capsys, "probe", "--json")
    done = subprocess.run(
        [sys.executable, "-c", "import exporters.devices"], cwd=tmp_path, check=False
    )
    assert done.returncode == 0
    assert os.environ["PYTHONPATH"].endswith(f"{os.pathsep}before")
