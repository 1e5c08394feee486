"""`cake-edge build` makes an engine and says what is in it, or prints the command for a board."""

from __future__ import annotations

import importlib.util
import json
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from click.testing import Result
from onnx import TensorProto, helper, numpy_helper
from reference.fake_tensorrt import fake_machine

Run = Callable[..., Result]
RunJson = Callable[..., dict[str, Any]]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """input -> Q -> DQ -> Conv -> mean -> logits."""
    values = {
        "s": np.float32(0.05),
        "z": np.int8(0),
        "w": np.ones((8, 3, 3, 3), np.int8),
    }
    nodes = [
        helper.make_node("QuantizeLinear", ["input", "s", "z"], ["q"], name="first"),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["d"], name="second"),
        helper.make_node("DequantizeLinear", ["w", "s", "z"], ["v"], name="stored"),
        helper.make_node("Conv", ["d", "v"], ["c"], name="conv"),
        helper.make_node("GlobalAveragePool", ["c"], ["m"], name="mean"),
        helper.make_node("Flatten", ["m"], ["logits"], name="flat"),
    ]
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ("batch", 3, 8, 8))],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ("batch", 8))],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in values.items()],
    )
    path = tmp_path / "net.onnx"
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path
    )
    return path


@pytest.fixture
def needs_compiler() -> None:
    if importlib.util.find_spec("tensorrt_rtx") is None:
        pytest.skip("tensorrt_rtx is not installed: pip install tensorrt-rtx-cu13")


@pytest.mark.usefixtures("needs_compiler")
def test_an_engine_is_built_and_told_of(run: Run, run_json: RunJson, model: Path) -> None:
    out, cache = model.with_name("net.engine"), model.with_name("cache")
    words = ("--module", "tensorrt_rtx", "--compute-capability", "8.9", "--cache", cache)
    result = run("build", model, "--out", out, *words)
    assert result.exit_code == 0, result.output
    assert "built in" in result.stdout
    assert "for     compute capability 8.9\n" in result.stdout
    assert "strong typing\n" in result.stdout
    assert "input   input: 1x3x8x8, 1x3x8x8, 8x3x8x8\n" in result.stdout
    assert "int8    1 of 1 convolutions and matrix products\n" in result.stdout
    again = run_json("build", model, "--out", model.with_name("b.engine"), *words)
    assert again["cached"]
    assert again["path"].endswith("b.engine")
    assert again["engine"]["bytes"] == out.stat().st_size
    assert json.loads(out.with_name("net.engine.json").read_text())["module"] == "tensorrt_rtx"
    result = run("build", model, "--out", model.with_name("c.engine"), *words)
    assert "was built before, and copied" in result.stdout


def test_settings_reach_the_engine_and_its_layers_are_timed(
    run: Run, run_json: RunJson, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_machine(monkeypatch, "10.3.0", dla_cores=1)
    out = model.with_name("net.engine")
    found = run_json(
        "build", model, "--out", out, "--no-cache", "--precision", "fp16", "--batches", "1,2,4",
        "--workspace-mib", 3, "--optimisation-level", 5, "--no-tf32", "--dla-core", 0,
        "--hardware-compatibility", "ampere+", "--version-compatible", "--timing-cache",
        model.with_name("timing"), "--profile",
    )  # fmt: skip
    plan = json.loads(out.read_bytes())
    assert plan["flags"] == ["FP16", "GPU_FALLBACK", "INT8", "VERSION_COMPATIBLE"]
    assert plan["pools"] == {"WORKSPACE": 3 * 2**20}
    assert (plan["level"], plan["dla"]) == (5, 0)
    assert [shape[0] for shape in plan["profile"]] == [1, 2, 4]
    assert model.with_name("timing").read_bytes() == b"timed+"
    assert len(found["profile_ms"]["layers"]) == 6
    assert found["config"]["hardware_compatibility"] == "ampere+"
    result = run("build", model, "--out", model.with_name("b.engine"), "--no-cache", "--profile")
    assert result.exit_code == 0, result.output
    assert "for     Orin, compute capability 8.7\n" in result.stdout
    assert "Layers by time, mean of 50 inferences of 1x3x8x8\n" in result.stdout
    assert "of the time only moves data" in result.stdout
    assert "Note: one\n" in result.stdout


def test_the_cache_is_the_usual_one(
    run_json: RunJson, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_machine(monkeypatch, "10.3.0")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    for name, cached in (("a", False), ("b", True)):
        out = model.with_name(f"{name}.engine")
        assert run_json("build", model, "--out", out)["cached"] is cached
    out = model.with_name("c.engine")
    assert run_json("build", model, "--out", out, "--no-cache")["cached"] is False


def test_a_command_for_a_board_is_printed(run: Run, run_json: RunJson, model: Path) -> None:
    result = run("build", model, "--trtexec", "10.3", "--batches", "1,4,8", "--no-tf32")
    assert result.exit_code == 0, result.output
    first, second = result.stdout.splitlines()
    assert first == "mkdir -p net.trtexec"
    words = shlex.split(second)
    assert words[:2] == ["trtexec", f"--onnx={model}"]
    assert "--shapes=input:4x3x8x8" in words
    assert "--noTF32" in words
    assert "--exportTimes=net.trtexec/times.json" in words
    assert second.endswith("2>&1 | tee net.trtexec/trtexec.log")
    found = run_json("build", model, "--trtexec", "11.0", "--sizes", "8x8,8x8,8x8")
    assert found["command"][0] == "trtexec"
    assert "--stronglyTyped" not in found["command"]
    assert (found["folder"], found["log"]) == ("net.trtexec", "net.trtexec/trtexec.log")


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        ((), 2, "say where the engine is to go, with --out"),
        (("--out", "x.engine", "--trtexec", "10.3"), 2, "leave --out out"),
        (("--trtexec", "10.3", "--profile", "--no-cache"), 2, "leave --no-cache, --profile out"),
        (("--trtexec", "9.0"), 2, "no trtexec of version '9.0' is known"),
        (("--out", "x.engine", "--batches", "1,2"), 2, "three numbers, such as 1,1,8"),
        (("--out", "x.engine", "--batches", "4,2,8"), 2, "at least 1, and in order"),
        (("--out", "x.engine", "--sizes", "224"), 2, "such as 160x160,224x224,320x320"),
        (("--out", "x.engine", "--cache", "c", "--no-cache"), 2, "ask for opposite things"),
        (("--out", "x.engine", "--module", "tensorflow"), 2, "tensorflow"),
        (("--out", "net.onnx"), 1, "is a file already"),
    ],
)
def test_a_mistake_is_answered_in_a_sentence(
    run: Run, model: Path, monkeypatch: Any, words: tuple[str, ...], code: int, message: str
) -> None:
    monkeypatch.chdir(model.parent)
    result = run("build", model, *words)
    assert result.exit_code == code
    assert message in result.stderr
    assert "internal error" not in result.stderr


def test_a_missing_file_is_named(run: Run, tmp_path: Path) -> None:
    for words in (("--out", tmp_path / "x.engine"), ("--trtexec", "10.3")):
        result = run("build", tmp_path / "nothing.onnx", *words)
        assert result.exit_code == 1
        assert "nothing.onnx does not exist" in result.stderr
