"""`cake-edge retarget` needs no images, and says what became of the weights."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from cake_edge.provenance import sha256_file
from exporters.runtimes import read_card

Run = Callable[..., Result]


@pytest.fixture(scope="module")
def model(
    teacher_file: Path,
    pool_folder: Path,
    tmp_path_factory: pytest.TempPathFactory,
    run: Run,
    run_json: Callable[..., dict[str, Any]],
) -> Path:
    """A student quantized for ort-x86."""
    folder = tmp_path_factory.mktemp("retarget")
    run_json("export", teacher_file, "--out", folder / "float.onnx")
    result = run("quantize", folder / "float.onnx", "--pool", pool_folder,
                 "--set", "latency_seconds=0", "--out", folder / "int8.onnx")  # fmt: skip
    assert result.exit_code == 0, result.output
    return folder / "int8.onnx"


def test_the_file_is_for_another_target(run: Run, model: Path, tmp_path: Path) -> None:
    out = tmp_path / "trt.onnx"
    result = run("retarget", model, "--target", "tensorrt", "--out", out)
    assert result.exit_code == 0, result.output
    assert "from ort-x86 to tensorrt" in result.stdout
    assert "weights keep their integers" in result.stdout
    card = read_card(out)
    assert card is not None
    assert (card.precision, card.target, card.parent) == ("int8", "tensorrt", sha256_file(model))


def test_json_is_the_report(
    run_json: Callable[..., dict[str, Any]], model: Path, tmp_path: Path
) -> None:
    out = tmp_path / "arm.onnx"
    found = run_json("retarget", model, "--target", "ort-arm", "--out", out)
    assert (found["source_target"], found["target"]) == ("ort-x86", "ort-arm")
    assert (found["path"], found["sha256"]) == (str(out), sha256_file(out))
    assert found["rounded_weights"] == []
    assert found["bytes"] == out.stat().st_size


def test_weights_that_are_rounded_again_are_said(run: Run, model: Path, tmp_path: Path) -> None:
    result = run("retarget", model, "--target", "ort-x86-novnni", "--out", tmp_path / "x.onnx")
    assert result.exit_code == 0, result.output
    assert "weights had to be rounded again" in result.stdout


@pytest.mark.parametrize(
    ("target", "code", "message"),
    [
        ("ort-x86", 2, "the file is for ort-x86 already"),
        ("ort-w8", 2, "is not one of"),
        ("tensort", 2, "tensorrt"),
    ],
)
def test_a_mistake_is_answered_in_a_sentence_and_writes_nothing(
    run: Run, model: Path, tmp_path: Path, target: str, code: int, message: str
) -> None:
    result = run("retarget", model, "--target", target, "--out", tmp_path / "x.onnx")
    assert result.exit_code == code, result.output
    assert message in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_an_existing_file_is_refused(run: Run, model: Path, tmp_path: Path) -> None:
    out = tmp_path / "x.onnx"
    out.write_bytes(b"mine")
    result = run("retarget", model, "--target", "tensorrt", "--out", out)
    assert result.exit_code == 1
    assert f"{out} is a file already" in result.stderr
    assert out.read_bytes() == b"mine"
