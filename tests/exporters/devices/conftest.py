"""Boards planted below a folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from reference.boards import BOARDS, plant


@pytest.fixture
def board(tmp_path: Path) -> Callable[..., Path]:
    """Plants a board by name; further words are files that it has besides, or None without."""

    def board(name: str, files: dict[str, str | None] | None = None) -> Path:
        chosen = {**BOARDS[name], **(files or {})}
        return plant(
            tmp_path / name, {path: text for path, text in chosen.items() if text is not None}
        )

    return board
