"""`cake-edge inspect`: what a person reads, and the same as JSON."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import Result

from cake_edge.networks import build_network


@pytest.fixture
def renamed(tmp_path: Path) -> Path:
    """Weights whose names timm does not know, and one tensor that is no network's."""
    state = build_network("test_resnet", channels=3, classes=4, seed=2).state_dict()
    content = {f"t{n}.{k.rpartition('.')[2]}": t for n, (k, t) in enumerate(state.items())}
    torch.save({**content, "total_ops": torch.ones(1)}, tmp_path / "renamed.pth")
    return tmp_path / "renamed.pth"


def test_a_teacher_that_describes_itself_is_told_in_groups(
    run: Callable[..., Result], teacher_file: Path
) -> None:
    result = run("inspect", teacher_file, "--no-check", "-q")
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    said = [" ".join(line.split()) for line in lines]
    assert [line for line in lines if line and line[0] != " "] == [
        "Teacher", "Input", "Output", "Network", "Samplers",
    ]  # fmt: skip
    for words in (
        "kind a checkpoint that describes itself",
        "size 3 x 32 x 32 (the checkpoint's header)",
        "mean, std 0.5 and 0.25 (the checkpoint's header)",
        "pixels black is -2, white 2",
        "classes 4 (the checkpoint's header)",
        "normalisation 15 BatchNorm2d with statistics",
        "cake fits",
    ):
        assert words in said
    assert "Preprocessing" not in result.stdout


def test_the_check_shows_which_preprocessing_was_used(
    run: Callable[..., Result], teacher_file: Path
) -> None:
    result = run("inspect", teacher_file, "-q")
    assert result.exit_code == 0, result.output
    shown = result.stdout.partition("Preprocessing")[2]
    assert "as stated (used)" in shown
    for name in ("imagenet", "inception", "zero-255", "caffe"):
        assert f"\n  {name} " in shown


def test_what_is_missing_is_said_and_the_rest_is_shown(
    run: Callable[..., Result], renamed: Path
) -> None:
    result = run(
        "inspect", renamed, "--arch", "test_resnet", "--match", "order",
        "--input-size", "3,32,32", "--no-check",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    shown = " ".join(result.stdout.split())
    assert "mean, std not known: give --mean and --std, or --preset colour" in shown
    assert "the rest is inspected all the same" in result.stderr
    assert "t0.weight -> conv1.0.weight" in result.stdout
    assert "left out 1: total_ops" in shown


def test_json_tells_the_same(run_json: Callable[..., dict[str, Any]], teacher_file: Path) -> None:
    found = run_json("inspect", teacher_file)
    assert found["file"]["name"] == teacher_file.name
    assert found["spec"]["input_size"] == [3, 32, 32]
    assert found["norms"] == [{"kind": "BatchNorm2d", "count": 15, "running_statistics": True}]
    assert found["gradient"]["reached"] == found["gradient"]["images"]
    assert [row["name"] for row in found["check"]["rows"] if row["stated"]] == ["as stated"]


def test_equal_seeds_give_equal_answers(run_json: Callable[..., dict[str, Any]]) -> None:
    words = ("inspect", "timm:test_resnet", "--random-weights", "--input-size", "3,32,32")
    first, again = (run_json(*words, "--seed", 3) for _ in range(2))
    assert first == again


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        ((), 2, "Missing argument 'REF'"),
        (("nowhere.pth",), 1, "not an existing file"),
        (("embedded", "--arch", "resnet18"), 2, "contradicts"),
    ],
)
def test_a_wrong_request_is_one_sentence(
    run: Callable[..., Result], words: tuple[str, ...], code: int, message: str
) -> None:
    result = run("inspect", *words)
    assert result.exit_code == code
    assert message in result.stderr
    assert result.stdout == ""
