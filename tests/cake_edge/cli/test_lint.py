"""`cake-edge lint` says what a target will not take, and ends with 1 where it would refuse."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from click.testing import Result
from onnx import TensorProto, helper, numpy_helper

Run = Callable[..., Result]


def write(path: Path, kind: type = np.uint8, zero: int = 0) -> Path:
    """x -> Q -> DQ -> Conv -> Q -> DQ."""
    values = {
        "s": np.float32(0.05),
        "z": np.asarray(zero, kind),
        "w": np.ones((8, 3, 3, 3), np.int8),
        "ws": np.full(8, 0.01, np.float32),
        "wz": np.zeros(8, np.int8),
    }
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"], name="first"),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["d"], name="second"),
        helper.make_node("DequantizeLinear", ["w", "ws", "wz"], ["v"], name="stored", axis=0),
        helper.make_node("Conv", ["d", "v"], ["c"], name="conv", pads=[1] * 4),
        helper.make_node("QuantizeLinear", ["c", "s", "z"], ["r"], name="third"),
        helper.make_node("DequantizeLinear", ["r", "s", "z"], ["out"], name="fourth"),
    ]
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ("batch", 3, 8, 8))],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, ("batch", 8, 8, 8))],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in values.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, path)
    return path


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write(tmp_path / "model.onnx")


@pytest.fixture
def needs_compiler() -> None:
    if importlib.util.find_spec("tensorrt_rtx") is None:
        pytest.skip("tensorrt_rtx is not installed: pip install tensorrt-rtx-cu13")


def test_a_file_for_its_target_has_nothing_said_of_it(run: Run, model: Path) -> None:
    result = run("lint", model, "--target", "ort-x86")
    assert result.exit_code == 0, result.output
    assert result.stdout == f"{model} for ort-x86: nothing to say\n"


def test_what_is_rejected_is_told_with_its_remedy_and_exit_code(run: Run, model: Path) -> None:
    result = run("lint", model, "--target", "tensorrt")
    assert result.exit_code == 1
    assert "rejected  uint8: first, second, third, fourth\n" in result.stdout
    assert "clips everything above 127" in result.stdout
    assert f"mend: cake-edge retarget {model} --target tensorrt --out OUT.onnx" in result.stdout
    assert result.stdout.endswith(f"{model} for tensorrt: 1 rejected\n")
    assert result.stderr == ""


def test_what_is_slow_ends_well(run: Run, tmp_path: Path) -> None:
    result = run("lint", write(tmp_path / "signed.onnx", np.int8), "--target", "ort-x86")
    assert result.exit_code == 0
    assert result.stdout.endswith("for ort-x86: 1 slow\n")


def test_json_has_every_finding(run: Run, model: Path) -> None:
    result = run("lint", model, "--target", "tensorrt", "--json")
    assert result.exit_code == 1
    found = json.loads(result.stdout)
    assert (found["target"], found["rejected"], found["compile"]) == ("tensorrt", 1, None)
    (finding,) = found["findings"]
    assert finding["rule"] == "uint8"
    assert finding["count"] == 4


@pytest.mark.usefixtures("needs_compiler")
def test_the_compiler_is_asked_too(run: Run, tmp_path: Path) -> None:
    path = write(tmp_path / "signed.onnx", np.int8)
    result = run("lint", path, "--target", "tensorrt", "--compile")
    assert result.exit_code == 0, result.output
    assert "compute capability 8.6, the nearest it has to 8.7" in result.stdout
    assert "1 of 1 convolutions and matrix products are INT8 in it" in result.stdout


@pytest.mark.usefixtures("needs_compiler")
def test_the_compilers_refusal_is_told(
    run: Run, run_json: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    path = write(tmp_path / "signed.onnx", np.int8, zero=5)
    result = run("lint", path, "--target", "tensorrt", "--compile")
    assert result.exit_code == 1
    assert "ended at stage parse:" in result.stdout
    assert "QuantizeLinear 'first': Non-zero zero point is not supported" in result.stdout
    fine = run_json("lint", write(path, np.int8), "--target", "tensorrt", "--compile",
                    "--compute-capability", "8.9")  # fmt: skip
    assert (fine["compile"]["ok"], fine["compile"]["compute_capability"]) == (True, "8.9")


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("model.onnx",), 2, "Missing option '--target'"),
        (("model.onnx", "--target", "tensort"), 2, "tensorrt"),
        (("model.onnx", "--target", "ort-x86", "--compile"), 2, "does not build for ort-x86"),
        (("missing.onnx", "--target", "ort-x86"), 1, "missing.onnx does not exist"),
    ],
)
def test_a_mistake_is_answered_in_a_sentence(
    run: Run, words: tuple[str, ...], code: int, message: str
) -> None:
    result = run("lint", *words)
    assert result.exit_code == code
    assert message in result.stderr


def test_a_damaged_file_is_named(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(b"garbage")
    result = run("lint", path, "--target", "tensorrt")
    assert result.exit_code == 1
    assert "is not a readable ONNX model" in result.stderr
    assert "internal error" not in result.stderr
