"""How long work tells of itself: one callback, passed down as an argument."""

from __future__ import annotations

from typing import Protocol

__all__ = ["Progress", "silent"]


class Progress(Protocol):
    """Called as work advances; cheap enough to call every step."""

    def __call__(self, task: str, done: int, total: int, note: str = "") -> None:
        """Tells that `done` of `total` units of `task` are finished."""


def silent(task: str, done: int, total: int, note: str = "") -> None:
    """The default sink: says nothing."""
