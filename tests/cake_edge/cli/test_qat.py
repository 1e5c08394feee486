"""`cake-edge qat` writes a few-bit network, and its ONNX form."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from cake_edge.checkpoint import Checkpoint, save_checkpoint
from cake_edge.networks import build_network
from cake_edge.provenance import sha256_file
from cake_edge.qat.checkpoint import load_qat
from cake_edge.spec import ImageSpec
from exporters.runtimes import open_session

Run = Callable[..., Result]
SHORT = ("--set", "steps=2", "--set", "batch=8", "--set", "calibration_batches=1",
         "--set", "warmup=1", "--set", "width=4", "--device", "cpu")  # fmt: skip


def test_a_teacher_becomes_a_file_of_few_bits_and_an_onnx_file(
    run: Run, teacher_file: Path, pool_folder: Path, tmp_path: Path
) -> None:
    out, onnx = tmp_path / "q.safetensors", tmp_path / "q.onnx"
    result = run("qat", "--teacher", teacher_file, "--pool", pool_folder, "--weight-bits", 3,
                 *SHORT, "--out", out, "--onnx", onnx)  # fmt: skip
    assert result.exit_code == 0, result.output
    assert "W3A4" in result.stdout
    assert "2 steps on images of pool" in result.stdout
    assert "names the class of the float network on " in result.stdout
    _, about = load_qat(out)
    assert about.manifest["config"]["weight_bits"] == 3
    with open_session(onnx) as session:
        assert session.card is not None
        assert session.card.parent == sha256_file(out)
        assert session.card.precision == "int8"
        assert session.card.manifest["config"]["weight_bits"] == 3


def test_of_labels_that_do_not_exclude_each_other_decisions_are_told(
    run: Run, run_json: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    spec = ImageSpec(channels=3, height=32, width=32, mean=(0.5,) * 3, std=(0.25,) * 3, classes=4,
                     head="sigmoid")  # fmt: skip
    teacher, pool = tmp_path / "t.safetensors", tmp_path / "pool"
    network = build_network("test_resnet", channels=3, classes=4, seed=1)
    save_checkpoint(teacher, network, Checkpoint(architecture="test_resnet", spec=spec))
    run_json("synthesize", "--teacher", teacher, "--set", "images_per_shard=16", "--set", "steps=2",
             "--count", 16, "--workers", 1, "--device", "cpu", "--out", pool)  # fmt: skip
    out = tmp_path / "q.safetensors"
    result = run("qat", "--teacher", teacher, "--pool", pool, *SHORT, "--out", out)
    assert result.exit_code == 0, result.output
    assert "decides as the float network on " in result.stdout
    assert "% of all labels of synthetic images" in result.stdout
    assert "class" not in result.stdout


def test_a_checkpoint_goes_without_a_pool(
    run_json: Callable[..., dict[str, Any]], teacher_file: Path, tmp_path: Path
) -> None:
    out = tmp_path / "q.safetensors"
    words = ("qat", teacher_file, *SHORT, "--seed", 5, "--out", out)
    told = run_json(*words)
    assert told["source"] == "generator"
    assert told["generator"]["batch_norms"] > 0
    assert told["sha256"] == sha256_file(out)
    assert 0 <= told["agreement_before"] <= 100
    again = run_json(*words)
    assert again == {**told, "seconds": None}


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("--weight-bits", 9), 2, "9 is not in the range 2<=x<=8"),
        (("--set", "weight_bits=3", "--weight-bits", 3), 2, "weight_bits is given twice"),
        (("--set", "stepz=3"), 2, "--set stepz is unknown (did you mean steps"),
        (("--source", "pool"), 2, "source pool needs a pool"),
        (("--source", "photos"), 2, "'photos' is not one of 'pool', 'generator', 'both'"),
        (("--pool", "nowhere"), 1, "nowhere is not a pool"),
        (("--teacher", "embedded"), 2, "give one of the two"),
        (("--set", "learning_rate=1e30", "--set", "clip=0"), 1, "lower learning_rate"),
    ],
)
def test_a_mistake_is_answered_in_a_sentence_and_writes_nothing(
    run: Run, teacher_file: Path, tmp_path: Path, words: tuple[str, ...], code: int, message: str
) -> None:
    out = tmp_path / "q.safetensors"
    result = run("qat", teacher_file, *SHORT, *words, "--out", out)
    assert result.exit_code == code, result.output
    assert message in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_the_place_is_looked_at_before_any_work(
    run: Run, teacher_file: Path, tmp_path: Path
) -> None:
    taken = tmp_path / "taken.onnx"
    taken.write_bytes(b"mine")
    result = run("qat", teacher_file, *SHORT, "--out", tmp_path / "q.safetensors", "--onnx", taken)
    assert result.exit_code == 1
    assert "taken.onnx is a file already" in result.stderr
    result = run("qat", teacher_file, *SHORT, "--out", tmp_path / "q.onnx")
    assert result.exit_code == 2
    assert "must end in .safetensors" in result.stderr
    assert taken.read_bytes() == b"mine"
    assert list(tmp_path.iterdir()) == [taken]
