"""The files that a device tells of itself in, below a root that a test can replace."""

from __future__ import annotations

import re
from pathlib import Path

__all__ = ["Tree"]


class Tree:
    """Reads files below a root; what is not there or may not be read is None, never an error.

    Paths are relative to the root: `sys/class/thermal`.
    """

    def __init__(self, root: Path) -> None:
        """Looks below `root`, which is / on a device."""
        self.root = root
        self._unknown: list[str] = []

    @property
    def unknown(self) -> tuple[str, ...]:
        """What could not be found out, each with its reason."""
        return tuple(dict.fromkeys(self._unknown))

    def give_up(self, what: str, why: str) -> None:
        """Notes that `what` stays unknown."""
        self._unknown.append(f"{what}: {why}")

    def text(self, path: str, *, what: str | None = None) -> str | None:
        """The text of a file without surrounding space and NULs.

        Args:
            what: what the file would have told; named among the unknown where it is unreadable.
        """
        try:
            content = (self.root / path).read_bytes()
        except OSError as error:
            if what is not None:
                self.give_up(what, f"/{path}: {error.strerror or error}")
            return None
        return content.decode("utf-8", errors="replace").strip("\0 \t\r\n")

    def number(self, path: str, *, what: str | None = None) -> int | None:
        """The whole number that a file holds."""
        found = self.text(path, what=what)
        if found is None:
            return None
        try:
            return int(found)
        except ValueError:
            if what is not None:
                self.give_up(what, f"/{path} holds {found[:40]!r}, not a number")
            return None

    def match(self, pattern: str) -> list[str]:
        """Paths that match a glob, hwmon2 before hwmon10."""
        try:
            found = [path.relative_to(self.root).as_posix() for path in self.root.glob(pattern)]
        except OSError:
            return []
        return sorted(found, key=_natural)


def _natural(path: str) -> list[tuple[int, str]]:
    return [
        (int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", path)
    ]
