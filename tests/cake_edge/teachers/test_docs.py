"""docs/teachers.md: its commands are parsed, its Python is run."""

from __future__ import annotations

import re
import shlex
from importlib import import_module
from pathlib import Path

import click
import numpy as np
import pytest

from cake_edge.cli import COMMANDS


@pytest.fixture(scope="module")
def text(root: Path) -> str:
    return (root / "docs" / "teachers.md").read_text(encoding="utf-8")


def test_every_command_is_one_that_the_command_line_takes(text: str) -> None:
    lines = re.findall(r"^\$ cake-edge (.*)$", text, re.MULTILINE)
    assert len(lines) >= 7
    for line in lines:
        name, *words = shlex.split(line)
        command: click.Command = import_module(COMMANDS[name][0]).command
        with command.make_context(name, words):
            pass


def test_the_python_runs(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    images = np.zeros((4, 28, 28), dtype=np.uint8)
    np.savez("test.npz", images=images, labels=np.arange(4))
    names: dict[str, object] = {}
    for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL):
        exec(block, names)
    assert names["found"].n == 4  # type: ignore[attr-defined]
