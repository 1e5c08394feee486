"""Time as a scenario sees it, so that a test can let a day pass at once."""

from __future__ import annotations

import time
from typing import Protocol

__all__ = ["Clock", "WallClock"]


class Clock(Protocol):
    """Tells the time and waits."""

    def now(self) -> float:
        """Seconds since some moment; never goes back."""

    def sleep(self, seconds: float) -> None:
        """Waits at least so long; other threads go on meanwhile."""


class WallClock:
    """The monotonic clock with the finest steps that the system has."""

    def now(self) -> float:
        """Seconds, as `time.perf_counter`."""
        return time.perf_counter()

    def sleep(self, seconds: float) -> None:
        """As `time.sleep`."""
        time.sleep(seconds)
