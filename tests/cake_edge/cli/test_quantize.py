"""`cake-edge quantize` finds its ranges on a pool, or on images that it makes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from exporters.runtimes import open_session

Run = Callable[..., Result]


@pytest.fixture(scope="module")
def model(
    teacher_file: Path,
    tmp_path_factory: pytest.TempPathFactory,
    run_json: Callable[..., dict[str, Any]],
) -> Path:
    out = tmp_path_factory.mktemp("model") / "student.fp32.onnx"
    run_json("export", teacher_file, "--out", out)
    return out


def test_ranges_come_from_a_pool(run: Run, model: Path, pool_folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "student.int8.onnx"
    result = run("quantize", model, "--pool", pool_folder, "--out", out)
    assert result.exit_code == 0, result.output
    assert "6 images kept apart; ranges from 18 others" in result.stdout
    assert out.stat().st_size < model.stat().st_size
    with open_session(out) as session:
        assert session.card is not None
        assert (session.card.precision, session.card.target) == ("int8", "ort-x86")


@pytest.mark.parametrize("pushed", [False, True])
def test_without_a_pool_images_are_made_by_seed(
    run_json: Callable[..., dict[str, Any]],
    model: Path,
    teacher_file: Path,
    tmp_path: Path,
    pushed: bool,
) -> None:
    teacher = ("--teacher", teacher_file, "--device", "cpu") if pushed else ()
    words = ("quantize", model, *teacher, "--set", "images=40")
    first = run_json(*words, "--out", tmp_path / "a.onnx")
    assert (first["precision"], first["target"], first["role"]) == ("int8", "ort-x86", "student")
    assert first["calibration_images"] + first["checked_images"] == 40
    again = run_json(*words, "--out", tmp_path / "b.onnx")
    assert again["sha256"] == first["sha256"]
    other = run_json(*words, "--seed", 1, "--out", tmp_path / "c.onnx")
    assert other["sha256"] != first["sha256"]


def test_the_quantizers_gate_is_reachable(run: Run, model: Path, tmp_path: Path) -> None:
    out = tmp_path / "x.onnx"
    result = run("quantize", model, "--set", "images=64", "--set", "max_agreement_drop=2",
                 "--out", out)  # fmt: skip
    assert result.exit_code == 2
    assert "max_agreement_drop is 2.0" in result.stderr
    assert not out.exists()


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("--target", "ort-x68"), 2, "ort-x86"),
        (("--set", "image=4"), 2, "--set image is unknown (did you mean images"),
        (("--pool", "nowhere"), 1, "nowhere is not a pool"),
        (("--pool", "nowhere", "--teacher", "embedded"), 2, "give one of the two"),
        (("--teacher", "timm:test_resnet", "--random-weights", "--preset", "zero-one",
          "--input-size", "3,32,32"), 2, "give images of the model's own input space"),
    ],
)  # fmt: skip
def test_a_mistake_is_answered_in_a_sentence_and_writes_nothing(
    run: Run, model: Path, tmp_path: Path, words: tuple[str, ...], code: int, message: str
) -> None:
    result = run("quantize", model, *words, "--out", tmp_path / "x.onnx")
    assert result.exit_code == code, result.output
    assert message in result.stderr
    assert "internal error" not in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_an_existing_file_is_refused_before_any_work(run: Run, tmp_path: Path) -> None:
    out = tmp_path / "x.onnx"
    out.write_bytes(b"mine")
    result = run("quantize", "missing.onnx", "--out", out)
    assert result.exit_code == 1
    assert f"{out} is a file already" in result.stderr
