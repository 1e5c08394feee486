"""`cake-edge export` writes a checkpoint or a teacher as ONNX, with its card."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import Result

from cake_edge.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from cake_edge.networks import build_network
from cake_edge.provenance import sha256_file
from cake_edge.spec import ImageSpec
from exporters.artifact import ModelCard
from exporters.onnx_export import export_onnx
from exporters.runtimes import open_session

Run = Callable[..., Result]


def test_a_checkpoint_becomes_a_student_with_its_parent(
    run: Run, teacher_file: Path, tmp_path: Path
) -> None:
    out = tmp_path / "student.onnx"
    result = run("export", teacher_file, "--out", out)
    assert result.exit_code == 0, result.output
    assert "student test_resnet" in result.stdout
    with open_session(out) as session:
        card = session.card
        assert card is not None
        assert (card.role, card.architecture, card.precision) == ("student", "test_resnet", "fp32")
        assert card.parent == sha256_file(teacher_file)
        assert card.spec.input_size == (3, 32, 32)
        assert session.infer(np.zeros((5, 3, 32, 32), np.float32)).shape == (5, 4)


def test_a_teacher_is_exported_with_its_labels(
    run_json: Callable[..., dict[str, Any]], teacher_file: Path, tmp_path: Path
) -> None:
    labels = tmp_path / "labels.txt"
    labels.write_text("ant\nbee\ncat\n\ndog\n", encoding="utf-8")
    out = tmp_path / "teacher.onnx"
    found = run_json("export", "--teacher", teacher_file, "--labels", labels, "--out", out)
    assert (found["role"], found["precision"], found["target"]) == ("teacher", "fp32", "any")
    assert found["bytes"] == out.stat().st_size
    assert found["sha256"] == sha256_file(out)
    with open_session(out) as session:
        assert session.card is not None
        assert session.card.spec.labels == ("ant", "bee", "cat", "dog")
        assert session.card.parameters == found["parameters"]


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        ((), 2, "give one of the two"),
        (("FILE", "--teacher", "embedded"), 2, "give one of the two"),
        (("FILE", "--arch", "resnet18"), 2, "--arch: given without a teacher"),
        (("FILE", "--also", "b.pth"), 2, "--also: given without a teacher"),
        (("missing.safetensors",), 1, "missing.safetensors"),
        (("--teacher", "timm:resnet81", "--random-weights"), 2, "no architecture 'resnet81'"),
    ],
)
def test_a_mistake_is_answered_in_a_sentence_and_writes_nothing(
    run: Run, teacher_file: Path, tmp_path: Path, words: tuple[str, ...], code: int, message: str
) -> None:
    given = [str(teacher_file) if word == "FILE" else word for word in words]
    result = run("export", *given, "--out", tmp_path / "x.onnx")
    assert result.exit_code == code, result.output
    assert message in result.stderr
    assert "internal error" not in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_checkpoint_with_weights_that_are_not_finite_is_named(run: Run, tmp_path: Path) -> None:
    spec = ImageSpec(channels=3, height=32, width=32, mean=(0.5,) * 3, std=(0.5,) * 3, classes=4)
    network = build_network("test_resnet", channels=3, classes=4)
    network.get_parameter("fc.bias").data.fill_(float("nan"))
    path = tmp_path / "bad.safetensors"
    save_checkpoint(path, network, Checkpoint(architecture="test_resnet", spec=spec))
    result = run("export", path, "--out", tmp_path / "x.onnx")
    assert result.exit_code == 1
    assert f"{path}: 4 of 4 values of fc.bias are NaN" in result.stderr
    assert not (tmp_path / "x.onnx").exists()


def test_an_existing_file_is_refused_before_any_work(run: Run, tmp_path: Path) -> None:
    out = tmp_path / "x.onnx"
    out.write_bytes(b"mine")
    result = run("export", "missing.safetensors", "--out", out)
    assert result.exit_code == 1
    assert f"{out} is a file already" in result.stderr


def test_a_teacher_with_one_batch_keeps_it(run: Run, teacher_file: Path, tmp_path: Path) -> None:
    network, header = load_checkpoint(teacher_file)
    card = ModelCard(architecture="a", spec=header.spec, role="teacher", parent="0" * 64)
    export_onnx(network, tmp_path / "vendor.onnx", card, batch=2)
    out = tmp_path / "again.onnx"
    result = run("export", "--teacher", tmp_path / "vendor.onnx", "--out", out)
    assert result.exit_code == 0, result.output
    assert "teacher onnx" in result.stdout
    assert "takes exactly 2 images a call" in result.stderr
    images = np.random.default_rng(0).standard_normal((3, 3, 32, 32)).astype(np.float32)
    with open_session(tmp_path / "vendor.onnx") as vendor, open_session(out) as ours:
        assert ours.card is not None
        assert ours.card.architecture == "onnx"
        np.testing.assert_allclose(ours.infer(images), vendor.infer(images), atol=1e-4)
