"""Measuring on another machine, which is this one behind a real sshd."""

from __future__ import annotations

import json
import logging
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from cake_edge import errors
from cake_edge.provenance import sha256_file
from exporters.remote import BenchOptions, Host, probe_remote, run, run_remote
from exporters.remote.guardian import MARK
from exporters.tensorrt.manifest import manifest_path

SHORT = BenchOptions(seconds=0.05, energy_seconds=0)
HELLO = {"python": [3, 10, 0], "executable": "/usr/bin/python3", "machine": "aarch64",
         "folder": "/tmp/x", "free_bytes": 1 << 30,
         "packages": {"numpy": True, "onnxruntime": True, "tensorrt": False}}  # fmt: skip


def test_models_are_measured_there_and_nothing_stays(board, server, float_file):
    told = []
    found = run_remote(board, [float_file, float_file], SHORT, lambda *w: told.append(w[0]))
    assert [row["path"] for row in found["models"]] == [str(float_file)] * 2
    assert found["models"][0]["sha256"] == sha256_file(float_file)
    assert found["models"][1]["latency_ms"]["p50"] > 0
    assert found["host"]["target"] == "board"
    assert found["host"]["executable"] == sys.executable
    assert {"sending", "latency"} <= set(told)
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert server.left_behind() == []


def test_a_machine_says_what_it_is(board, server):
    found = probe_remote(board)
    assert found["packages"]["numpy"]["works"] is True
    assert found["host"]["python"] == ".".join(map(str, sys.version_info[:3]))
    assert server.left_behind() == []


def test_a_model_that_fails_there_costs_its_row_and_has_our_name(
    board, server, tmp_path, float_file
):
    damaged = tmp_path / "damaged.onnx"
    damaged.write_bytes(b"no model")
    lost, well = run_remote(board, [damaged, float_file], SHORT)["models"]
    assert str(damaged) in lost["failure"]
    assert "model-0" not in lost["failure"]
    assert lost["path"] == str(damaged)
    assert (lost["latency_ms"], lost["failure_kind"]) == (None, "ArtifactError")
    assert well["latency_ms"]["p50"] > 0
    assert server.left_behind() == []


def test_a_wrong_option_is_refused_there_as_here(board, float_file):
    with pytest.raises(errors.UsageMistake, match="no runtime 'abacus'"):
        run_remote(board, [float_file], replace(SHORT, runtime="abacus"))


@pytest.mark.parametrize("models", [[], [Path("absent.onnx")]])
def test_a_file_that_is_not_here_is_refused_before_connecting(models):
    with pytest.raises(errors.ArtifactError, match="is not there to be measured"):
        run_remote(Host(target="nobody.invalid"), models, SHORT)


@pytest.fixture
def pretend(tmp_path, configure):
    """A host whose Python is a script that says these lines and takes what comes."""

    def pretend(hello, *answers):
        lines = [MARK + json.dumps({**HELLO, **hello}), *(MARK + json.dumps(a) for a in answers)]
        said = "\n".join(f"cat <<'EOF'\n{line}\nEOF" for line in lines)
        script = tmp_path / "pretender"
        script.write_text(f"#!/bin/sh\n{said}\necho 'last words' >&2\ncat > /dev/null\n")
        script.chmod(0o755)
        return Host(target="board", config=configure(), python=str(script))

    return pretend


@pytest.mark.parametrize(
    ("hello", "words"),
    [
        ({"python": [3, 8, 10]}, r"is Python 3\.8, and 3\.10 or later is needed.*--python"),
        ({"packages": {"numpy": False, "onnxruntime": True}}, "numpy is not installed.*pip"),
        ({"packages": {"numpy": True, "onnxruntime": False}}, "there: pip install onnxruntime"),
    ],
)  # fmt: skip
def test_what_is_missing_there_is_said_with_the_line_that_installs_it(
    pretend, float_file, hello, words
):
    with pytest.raises(errors.RuntimeUnavailable, match=words):
        run_remote(pretend(hello), [float_file], SHORT)


def test_another_runtime_needs_its_own_package(pretend, float_file):
    host = pretend({"packages": {"numpy": True, "onnxruntime": False, "tensorrt": False}})
    with pytest.raises(errors.RuntimeUnavailable, match="tensorrt is not installed"):
        run_remote(host, [float_file], replace(SHORT, runtime="tensorrt"))


def test_a_probe_needs_no_packages(pretend):
    answer = {"exit": 0, "stdout": '{"device": 1}', "stopped": None}
    host = pretend({"packages": {"numpy": False, "onnxruntime": False}}, answer)
    assert probe_remote(host)["device"] == 1


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ({"exit": -11, "stdout": "", "stopped": None}, "ended with signal 11: last words"),
        ({"exit": 1, "stdout": "half {", "stopped": None}, "ended with exit code 1: last words"),
        ({"exit": 0, "stdout": "", "stopped": None}, "ended with exit code 0: last words"),
        ({"exit": -15, "stdout": "", "stopped": "time"}, "it took too long"),
    ],
)
def test_a_runner_that_crashes_leaves_its_last_words(pretend, float_file, answer, words):
    with pytest.raises(errors.DeviceUnavailable, match=words):
        run_remote(pretend({}, answer), [float_file], SHORT)


def test_an_error_of_an_unknown_kind_is_still_told(pretend):
    told = json.dumps({"error": "odd", "kind": "NoSuchKind", "exit_code": 1})
    host = pretend({}, {"exit": 1, "stdout": told, "stopped": None})
    with pytest.raises(errors.DeviceUnavailable, match="on board: odd"):
        probe_remote(host)


def test_a_model_that_came_over_damaged_is_found(pretend, float_file):
    told = json.dumps({"models": [{"path": "model-0.onnx", "sha256": "00"}]})
    host = pretend({}, {"exit": 0, "stdout": told, "stopped": None})
    with pytest.raises(errors.ArtifactError, match="damaged, on its way"):
        run_remote(host, [float_file], SHORT)


def test_lines_of_the_other_side_go_to_progress_or_the_log(caplog):
    told = []
    hear = run._listener(lambda *words: told.append(words))
    with caplog.at_level(logging.DEBUG, "exporters.remote.run"):
        for line in ('cake-edge-progress ["a", 1, 2, "b"]', "cake-edge-progress {", "warning"):
            hear(line)
    assert told == [("a", 1, 2, "b")]
    assert [record.getMessage() for record in caplog.records][-1] == "there: warning"
    assert len(caplog.records) == 2


def test_what_lies_beside_an_engine_goes_with_it(tmp_path):
    engine, model = tmp_path / "a.engine", tmp_path / "b.onnx"
    manifest_path(engine).touch()
    assert run._manifests(["model-0.engine", "model-1.onnx"], [engine, model]) == [
        (manifest_path(Path("model-0.engine")).name, manifest_path(engine))
    ]
