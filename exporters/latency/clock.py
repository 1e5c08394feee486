"""Time as a scenario sees it, so that a test can let a day pass at once."""

from __future__ import annotations

import gc
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

__all__ = ["Clock", "WallClock", "no_garbage_collection"]


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


@contextmanager
def no_garbage_collection() -> Iterator[None]:
    """Collects once, then keeps the collector from landing inside the clock."""
    was_enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
