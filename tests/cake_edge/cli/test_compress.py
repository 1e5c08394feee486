"""`cake-edge compress` runs a recipe into a folder, and finds finished stages there."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import Result

Run = Callable[..., Result]

RECIPE = """
name = "tiny"
seed = 3

[teacher]
reference = "TEACHER"

[synthesis]
count = 999
settings = { images_per_shard = 16, steps = 2, oversample = 1 }

[student]
name = "resnet10t"
arguments = { channels = [4, 4, 8, 8], stem_width = 4 }

[distill]
steps = 3
batch = 4

[evaluate]
limit = 6

[bench]
min_seconds = 0
min_count = 5
warmup_seconds = 0
warmup_count = 1

[budget.small]
synthesis.count = 16
"""


@pytest.fixture(scope="module")
def recipe(teacher_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recipe") / "tiny.toml"
    path.write_text(RECIPE.replace("TEACHER", str(teacher_file)), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("photos") / "photos.npz"
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (8, 32, 32, 3), dtype=np.uint8)
    np.savez(path, images=images, labels=np.arange(8) % 4)
    return path


def test_a_recipe_becomes_a_run_folder_and_is_found_finished_again(
    run: Run,
    run_json: Callable[..., dict[str, Any]],
    recipe: Path,
    photos: Path,
    tmp_path: Path,
) -> None:
    out = tmp_path / "run"
    words = ("compress", recipe, "--budget", "small", "--data", photos, "--seed", 4,
             "--device", "cpu", "--workers", 1, "--out", out)  # fmt: skip
    result = run(*words)
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[0].split()[:3] == ["role", "precision", "target"]
    assert [line.split()[:3] for line in lines[2:5]] == [
        ["teacher", "fp32", "any"],
        ["student", "fp32", "any"],
        ["student", "int8", "ort-x86"],
    ]
    assert "  100.00 %  " in lines[2], "the teacher agrees with itself"
    assert str(out / "report.html") in lines[-1]
    report = run_json(*words)
    assert report == json.loads((out / "report.json").read_text(encoding="utf-8"))
    assert all(stage["skipped"] for stage in report["stages"])
    assert report["manifest"]["seed"] == 4
    assert [model["n"] for model in report["models"]] == [6, 6, 6]
    assert report["pool"]["images"] == 16
    for name in ("report.md", "report.html", "pool/pool.json", "student/student.safetensors"):
        assert (out / name).is_file()
    other = run("compress", recipe, "--budget", "small", "--seed", 5, "--out", out)
    assert other.exit_code == 1
    assert f"{out} holds a run of other settings" in other.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--budget", "smal"), "no budget 'smal' (did you mean small?)"),
        (("--data", "nowhere"), "nowhere"),
        (("--device", "tpu"), "not one of auto, cpu, cuda"),
    ],
)
def test_a_mistake_is_answered_in_a_sentence_and_writes_nothing(
    run: Run, recipe: Path, tmp_path: Path, words: tuple[str, ...], message: str
) -> None:
    result = run("compress", recipe, *words, "--out", tmp_path / "run")
    assert result.exit_code == 2, result.output
    assert message in result.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("limit = 6", "data = 'tiny.toml'", "is neither a folder nor a .npz file"),
        ('name = "resnet10t"', 'name = "tiny-resnte"', "did you mean tiny-resnet"),
        ('name = "resnet10t"', 'name = "test_vit"\n', "arguments"),
    ],
)
def test_a_mistake_that_a_late_stage_would_meet_is_told_before_the_first(
    run: Run, recipe: Path, tmp_path: Path, old: str, new: str, message: str
) -> None:
    path = tmp_path / "tiny.toml"
    path.write_text(recipe.read_text(encoding="utf-8").replace(old, new), encoding="utf-8")
    result = run("compress", path, "--budget", "small", "--out", tmp_path / "run")
    assert result.exit_code in (1, 2)
    assert message in result.stderr
    assert list(tmp_path.iterdir()) == [path]


def test_a_mistake_in_the_recipe_names_file_and_key(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "bad.toml"
    path.write_text(RECIPE.replace("count = 999", "count = 'many'"), encoding="utf-8")
    result = run("compress", path, "--out", tmp_path / "run", "--json")
    assert result.exit_code == 2
    message = f"{path}: synthesis.count is 'many' (a string); it must be a whole number"
    assert result.stderr == f"error: {message}\n"
    assert json.loads(result.stdout) == {"error": message, "kind": "UsageMistake", "exit_code": 2}


def test_a_taken_folder_is_refused_and_left_alone(run: Run, recipe: Path, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine", encoding="utf-8")
    result = run("compress", recipe, "--device", "cpu", "--out", tmp_path)
    assert result.exit_code == 1
    assert "not empty" in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_a_teacher_takes_the_place_of_the_recipes(
    run_json: Callable[..., dict[str, Any]], recipe: Path, tmp_path: Path
) -> None:
    report = run_json(
        "compress", recipe, "--budget", "small", "--teacher", "timm:test_resnet",
        "--random-weights", "--input-size", "3,32,32", "--num-classes", 6,
        "--classes", "4,1", "--other", "--device", "cpu", "--workers", 1,
        "--out", tmp_path / "run",
    )  # fmt: skip
    teacher = report["manifest"]["recipe"]["teacher"]
    assert (teacher["reference"], teacher["classes"]) == ("timm:test_resnet", ["4", "1"])
    assert report["pool"]["labels"] == ["4", "1", "other"]


def test_without_a_recipe_and_without_a_teacher_there_is_nothing_to_do(
    run: Run, tmp_path: Path
) -> None:
    result = run("compress", "--out", tmp_path / "run")
    assert result.exit_code == 2
    assert "give a RECIPE.toml, or a teacher with --teacher" in result.stderr


def test_without_a_recipe_the_teacher_is_read_first_and_a_mistake_writes_nothing(
    run: Run, tmp_path: Path
) -> None:
    words = ("--teacher", "timm:test_resnet", "--random-weights", "--budget", "smok")
    result = run("compress", *words, "--device", "cpu", "--out", tmp_path / "run")
    assert result.exit_code == 2
    assert "no budget 'smok' (did you mean smoke?)" in result.stderr
    assert list(tmp_path.iterdir()) == []
