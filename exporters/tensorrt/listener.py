"""A logger for NVIDIA's library that keeps what it is told, and remembers who spoke."""

from __future__ import annotations

from typing import Any

__all__ = ["listener"]


CHATTER = ("VERBOSE", "INFO")


def listener(library: Any, *, chatter: bool = True) -> Any:
    """Returns a logger of that library that keeps what it hears; it must outlive what it serves.

    Made here, as its base class is the library's. `said(severity)` gives the lines of a level, an
    internal error among the errors.

    Args:
        chatter: whether to keep what is neither wrong nor worth a warning; a build tells its
            layers there, and an engine that runs for hours would fill memory with it.
    """

    class Listener(library.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            # Not super(): the binding wants its own __init__ called by name.
            library.ILogger.__init__(self)
            self.lines: list[tuple[str, str]] = []

        def log(self, severity: Any, text: str) -> None:
            if chatter or severity.name not in CHATTER:
                self.lines.append((severity.name, text))

        def said(self, severity: str) -> list[str]:
            levels = (severity, "INTERNAL_ERROR") if severity == "ERROR" else (severity,)
            return [text for name, text in self.lines if name in levels]

    return Listener()
