"""`cake-edge distill` trains a student on a pool of its own teacher."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from cake_edge.checkpoint import load_checkpoint, save_checkpoint
from cake_edge.pool import open_pool
from cake_edge.provenance import sha256_file
from cake_edge.students import STUDENTS

Run = Callable[..., Result]
STUDENT = ("--student", "resnet10t", "--student-arguments", "channels=[4, 4, 8, 8]",
           "--student-arguments", "stem_width=4")  # fmt: skip
SHORT = ("--set", "steps=3", "--set", "batch=4", "--workers", 1, "--device", "cpu")


def test_a_student_is_written_that_names_what_it_was_made_from(
    run: Run,
    run_json: Callable[..., dict[str, Any]],
    teacher_file: Path,
    pool_folder: Path,
    tmp_path: Path,
) -> None:
    words = ("distill", "--teacher", teacher_file, *STUDENT, "--pool", pool_folder, *SHORT)
    out = tmp_path / "student.safetensors"
    result = run(*words, "--seed", 2, "--out", out)
    assert result.exit_code == 0, result.output
    assert "3 steps, 12 views" in result.stdout
    _, about = load_checkpoint(out)
    assert about.architecture == "resnet10t"
    assert about.arguments == {"channels": [4, 4, 8, 8], "stem_width": 4}
    assert about.manifest["config"]["steps"] == 3
    assert about.manifest["seed"] == 2
    twin = run_json(*words, "--seed", 2, "--out", tmp_path / "twin.safetensors")
    assert twin["sha256"] == sha256_file(out)


def test_the_published_training_is_there_by_name(
    run_json: Callable[..., dict[str, Any]], teacher_file: Path, pool_folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "student.safetensors"
    run_json("distill", "--teacher", teacher_file, *STUDENT, "--pool", pool_folder, *SHORT,
             "--training", "cake-paper", "--out", out)  # fmt: skip
    config = load_checkpoint(out)[1].manifest["config"]
    assert (config["loss"], config["optimiser"], config["steps"]) == (
        "soft-cross-entropy",
        "sgd",
        3,
    )


def test_a_student_of_the_teachers_family_inherits_unless_told_otherwise(
    run_json: Callable[..., dict[str, Any]], teacher_file: Path, pool_folder: Path, tmp_path: Path
) -> None:
    def inherited(*words: str) -> int:
        out = tmp_path / f"student{len(words)}.safetensors"
        run_json("distill", "--teacher", teacher_file, "--student", "test_resnet", *words,
                 "--pool", pool_folder, *SHORT, "--out", out)  # fmt: skip
        return int(load_checkpoint(out)[1].manifest["inherited"])

    assert inherited() > 0
    assert inherited("--from-scratch") == 0


def test_a_student_learns_from_an_assistant_and_both_are_named(
    run: Run,
    run_json: Callable[..., dict[str, Any]],
    teacher_file: Path,
    pool_folder: Path,
    tmp_path: Path,
) -> None:
    words = ("distill", "--teacher", teacher_file, "--pool", pool_folder, *SHORT)
    middle, out = tmp_path / "assistant.safetensors", tmp_path / "student.safetensors"
    run_json(*words, "--student", "test_efficientnet", "--out", middle)
    run_json(*words, *STUDENT, "--assistant", middle, "--out", out)
    manifest = load_checkpoint(out)[1].manifest
    assert manifest["teacher"] == load_checkpoint(middle)[1].manifest["teacher"]
    assert len(manifest["assistant"]) == 64
    refused = run(
        *words, *STUDENT, "--assistant", teacher_file, "--out", tmp_path / "x.safetensors"
    )
    assert refused.exit_code == 2
    assert "did not learn from this teacher; distill one from it first" in refused.stderr


def test_a_pool_and_a_student_of_several_teachers(
    run: Run, run_json: Callable[..., dict[str, Any]], teacher_file: Path, tmp_path: Path
) -> None:
    def words(command: str, *also: object) -> tuple[object, ...]:
        teachers = ("--teacher", teacher_file, *(w for one in also for w in ("--also", one)))
        return (command, *teachers, "--device", "cpu", "--workers", 1)

    network, about = load_checkpoint(teacher_file)
    for seed in (5, 6):
        network.get_parameter("fc.bias").data.add_(seed)
        save_checkpoint(tmp_path / f"{seed}.safetensors", network, about)
    others = (tmp_path / "5.safetensors", tmp_path / "6.safetensors")
    pool, out = tmp_path / "pool", tmp_path / "student.safetensors"
    run_json(*words("synthesize", *others), "--sampler", "forward-only", "--count", 16,
             "--set", "oversample=2", "--out", pool)  # fmt: skip
    train = ("--pool", pool, *STUDENT, "--set", "steps=2", "--set", "batch=4", "--out", out)
    run_json(*words("distill", *others), *train)
    assert load_checkpoint(out)[1].manifest["teacher"] == open_pool(pool).teacher_digest
    fewer = run(*words("distill", others[0]), *train)
    assert fewer.exit_code == 1
    assert "was made by another teacher" in fewer.stderr
    twice = run(*words("distill", teacher_file), *train)
    assert twice.exit_code == 2
    assert "are the same one; name each once" in twice.stderr


def test_help_names_every_student_preset(run: Run) -> None:
    text = " ".join(run("distill", "--help").stdout.split())
    for name in STUDENTS:
        assert f"{name}, " in text


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("--student", "resnet10"), 2, "resnet10t"),
        (("--set", "step=3"), 2, "--set step is unknown (did you mean steps"),
        (("--set", "loss=l2"), 2, "allowed: kl, soft-cross-entropy"),
        (("--training", "caek"), 2, "did you mean cake"),
        (("--pool", "nowhere"), 1, "nowhere is not a pool"),
        (("--teacher", "timm:test_resnet", "--random-weights", "--preset", "imagenet",
          "--input-size", "3,32,32", "--num-classes", "4"), 1, "made by another teacher"),
    ],
)  # fmt: skip
def test_a_mistake_is_answered_in_a_sentence_and_writes_nothing(
    run: Run,
    teacher_file: Path,
    pool_folder: Path,
    tmp_path: Path,
    words: tuple[str, ...],
    code: int,
    message: str,
) -> None:
    out = tmp_path / "student.safetensors"
    given = ("--teacher", teacher_file, *STUDENT, "--pool", pool_folder, *SHORT, *words)
    result = run("distill", *given, "--out", out)
    assert result.exit_code == code, result.output
    assert message in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_an_existing_file_of_another_kind_is_refused_and_left_alone(
    run: Run, teacher_file: Path, pool_folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "student.safetensors"
    out.write_bytes(b"mine")
    result = run("distill", "--teacher", teacher_file, *STUDENT, "--pool", pool_folder, *SHORT,
                 "--out", out)  # fmt: skip
    assert result.exit_code == 1
    assert f"{out} is not a readable safetensors file" in result.stderr
    assert out.read_bytes() == b"mine"


def test_a_student_is_written_under_the_name_of_its_kind(run: Run, tmp_path: Path) -> None:
    result = run("distill", "--teacher", "embedded", *STUDENT, "--pool", "y",
                 "--out", tmp_path / "student.onnx")  # fmt: skip
    assert result.exit_code == 2
    assert "student.onnx must end in .safetensors" in result.stderr
