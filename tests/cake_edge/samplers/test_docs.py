"""docs/samplers.md: every sampler, its settings with their defaults, its Python."""

from __future__ import annotations

import json
import re
from dataclasses import fields
from pathlib import Path

import pytest

from cake_edge.samplers import SAMPLERS


@pytest.fixture(scope="module")
def text(root: Path) -> str:
    return (root / "docs" / "samplers.md").read_text(encoding="utf-8")


def section(text: str, name: str) -> str:
    return text.split(f"\n## `{name}`\n")[1].split("\n## ")[0]


@pytest.mark.parametrize("name", [name for name in SAMPLERS if name != "cake"])
def test_every_setting_stands_there_with_its_default(text: str, name: str) -> None:
    rows = re.findall(r"^\| `(\w+)` \| `(.*?)` \| (.+) \|$", section(text, name), re.MULTILINE)
    said = {key: json.loads(value) for key, value, _ in rows}
    wanted = {
        field.name: list(field.default) if isinstance(field.default, tuple) else field.default
        for field in fields(SAMPLERS[name])  # type: ignore[arg-type]
    }
    assert said == wanted


def test_every_sampler_is_in_the_table(text: str) -> None:
    named = re.findall(r"^\| \[`([\w-]+)`\]", text, re.MULTILINE)
    assert sorted(named) == sorted(SAMPLERS)


def test_the_python_runs(text: str) -> None:
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert blocks
    for block in blocks:
        exec(block, {})
