"""`cake-edge synthesize` makes a pool, goes on with one, and refuses what is not its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from cake_edge.pool import open_pool

Run = Callable[..., Result]
SMALL = ("--set", "images_per_shard=8", "--set", "steps=2", "--set", "oversample=1", "--workers", 1)


def test_a_pool_is_written_and_described(
    run: Run, run_json: Callable[..., dict[str, Any]], teacher_file: Path, tmp_path: Path
) -> None:
    out = tmp_path / "pool"
    words = ("synthesize", "--teacher", teacher_file, *SMALL, "--count", 12, "--seed", 5)
    result = run(*words, "--out", out)
    assert result.exit_code == 0, result.output
    assert f"12 images in {out}" in result.stdout
    assert "classes covered" in result.stdout
    pool = open_pool(out)
    assert len(pool) == 12
    assert pool.about["seed"] == 5
    assert pool.about["config"]["steps"] == 2
    again = run_json(*words, "--out", out)
    assert again["digest"] == pool.digest
    assert again["images"] == 12
    elsewhere = run_json(*words, "--out", tmp_path / "twin")
    assert elsewhere["digest"] == pool.digest


@pytest.mark.slow
def test_a_launcher_s_processes_make_the_pool_of_one_and_the_first_tells_of_it(
    run_json: Callable[..., dict[str, Any]], teacher_file: Path, tmp_path: Path
) -> None:
    words = ("synthesize", "--teacher", teacher_file, *SMALL, "--count", 40, "--json")
    launcher = (sys.executable, "-m", "torch.distributed.run", "--standalone")
    launched = [
        *launcher,
        "--nproc-per-node",
        2,
        "-m",
        "cake_edge",
        *words,
        "--out",
        tmp_path / "p",
    ]
    done = subprocess.run(
        [str(word) for word in launched], capture_output=True, text=True, timeout=300, check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    alone = run_json(*words[:-1], "--device", "cpu", "--out", tmp_path / "alone")
    assert json.loads(done.stdout)["digest"] == alone["digest"]
    assert sorted(file.name for file in (tmp_path / "p").iterdir()) == sorted(
        file.name for file in (tmp_path / "alone").iterdir()
    )


def test_the_published_sampler_is_there_by_name(
    run_json: Callable[..., dict[str, Any]], teacher_file: Path, tmp_path: Path
) -> None:
    out = tmp_path / "pool"
    run_json("synthesize", "--teacher", teacher_file, "--sampler", "cake-paper", "--set", "batch=4",
             "--set", "tuple_size=2", "--set", "steps=1", "--count", 4, "--out", out)  # fmt: skip
    assert open_pool(out).about["sampler"] == "cake-paper"


def test_a_taken_folder_is_refused_before_the_teacher_is_looked_at(
    run: Run, tmp_path: Path
) -> None:
    (tmp_path / "notes.txt").write_text("mine", encoding="utf-8")
    result = run("synthesize", "--teacher", "missing.pt", "--count", 4, "--out", tmp_path)
    assert result.exit_code == 1
    assert "not empty" in result.stderr
    assert "missing.pt" not in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("--sampler", "caek"), 2, "did you mean cake"),
        (("--set", "stpes=3"), 2, "--set stpes is unknown (did you mean steps"),
        (("--set", "steps=many"), 2, "--set steps is 'many' (a string); it must be a whole"),
        (("--count", "0"), 2, "--count"),
        (("--device", "tpu"), 2, "not one of auto, cpu, cuda"),
    ],
)
def test_a_mistake_is_answered_in_a_sentence_and_writes_nothing(
    run: Run, teacher_file: Path, tmp_path: Path, words: tuple[str, ...], code: int, message: str
) -> None:
    out = tmp_path / "pool"
    result = run("synthesize", "--teacher", teacher_file, "--count", 4, "--out", out, *words)
    assert result.exit_code == code
    assert message in result.stderr
    assert not out.exists()
