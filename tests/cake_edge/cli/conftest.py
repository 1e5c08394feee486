"""A teacher small enough to run a command on it in a second."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from cake_edge.cli import main


@pytest.fixture(scope="session")
def teacher_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of a random residual network, 4 classes of 3 x 32 x 32."""
    from cake_edge.checkpoint import Checkpoint, save_checkpoint
    from cake_edge.networks import build_network
    from cake_edge.spec import ImageSpec

    spec = ImageSpec(channels=3, height=32, width=32, mean=(0.5,) * 3, std=(0.25,) * 3, classes=4)
    network = build_network("test_resnet", channels=3, classes=4, seed=1)
    path = tmp_path_factory.mktemp("teacher") / "teacher.safetensors"
    save_checkpoint(path, network, Checkpoint(architecture="test_resnet", spec=spec))
    return path


@pytest.fixture(scope="session")
def run() -> Callable[..., Result]:
    """Runs `cake-edge` with these words."""
    return lambda *words: CliRunner().invoke(
        main, [str(word) for word in words], prog_name="cake-edge"
    )


@pytest.fixture(scope="session")
def run_json(run: Callable[..., Result]) -> Callable[..., dict[str, Any]]:
    """Runs `cake-edge` with these words and --json; returns the object on stdout."""

    def run_json(*words: object) -> dict[str, Any]:
        result = run(*words, "--json", "-q")
        assert result.exit_code == 0, result.output
        found = json.loads(result.stdout)
        assert isinstance(found, dict)
        return found

    return run_json


SMALL = ("--set", "images_per_shard=16", "--set", "steps=2", "--set", "oversample=1")


@pytest.fixture(scope="session")
def pool_folder(
    teacher_file: Path,
    tmp_path_factory: pytest.TempPathFactory,
    run_json: Callable[..., dict[str, Any]],
) -> Path:
    """A pool of 24 images of that teacher."""
    out = tmp_path_factory.mktemp("pool") / "pool"
    run_json("synthesize", "--teacher", teacher_file, *SMALL, "--count", 24, "--workers", 1,
             "--device", "cpu", "--out", out)  # fmt: skip
    return out
