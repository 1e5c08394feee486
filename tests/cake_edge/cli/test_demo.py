"""`cake-edge demo` is its recipe, run into a folder."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from cake_edge import pipeline
from cake_edge.distill import DistillConfig
from cake_edge.recipe import EvaluationConfig, Recipe
from cake_edge.samplers import CakeConfig
from exporters.latency.harness import LatencyConfig

Run = Callable[..., Result]


def hurried() -> Recipe:
    """The demo's recipe with everything that takes time cut short."""
    recipe = pipeline.demo_recipe()
    settings = CakeConfig(images_per_shard=64, steps=2, oversample=1)
    return dataclasses.replace(
        recipe,
        synthesis=dataclasses.replace(recipe.synthesis, count=64, settings=settings),
        distill=DistillConfig(steps=2, batch=16),
        evaluation=EvaluationConfig(data=recipe.evaluation.data, limit=50),
        bench=LatencyConfig(min_seconds=0, min_count=5, warmup_seconds=0, warmup_count=1),
    )


def test_the_demo_measures_the_embedded_teacher_and_its_student_on_real_images(
    monkeypatch: pytest.MonkeyPatch, run_json: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    short = hurried()
    monkeypatch.setattr(pipeline, "demo_recipe", lambda: short)
    out = tmp_path / "demo"
    report = run_json("demo", "--device", "cpu", "--workers", 1, "--seed", 9, "--out", out)
    assert report["manifest"]["seed"] == 9
    teacher, student, quantized = report["models"]
    assert (teacher["role"], student["role"], quantized["precision"]) == (
        "teacher",
        "student",
        "int8",
    )
    assert teacher["n"] == 50
    assert 80 < teacher["top1"] <= 100
    assert student["parameters"] * 5 <= teacher["parameters"]
    assert (out / "report.html").is_file()


def test_a_taken_folder_is_refused_and_left_alone(run: Run, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine", encoding="utf-8")
    result = run("demo", "--device", "cpu", "--out", tmp_path)
    assert result.exit_code == 1
    assert "not empty" in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]
