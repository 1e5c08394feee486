"""One open model with its input, warmed up and timed in bursts, and what has been measured of it.

A turn is a call outside the clock, then a burst of timed calls: a model deployed alone finds its
weights in the cache, and the call outside the clock puts back what others displaced.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

import numpy as np
import numpy.typing as npt

__all__ = ["Images", "Inference", "Lane", "no_garbage_collection"]

Images = npt.NDArray[np.float32]


class Inference(Protocol):
    """What is timed: any open session of `exporters.runtimes` will do."""

    def infer(self, images: Images, /) -> npt.NDArray[np.float32]:
        """Takes [N, C, H, W] to [N, classes]."""


class Lane:
    """One model with its input, and what has been measured of it."""

    def __init__(self, session: Inference, images: Images) -> None:
        self._infer = session.infer
        self._images = images
        self.warmup_ns: list[int] = []
        """Nanoseconds of each call of the warm-up, the very first call ahead."""
        self.turns_ns: list[list[int]] = []
        """[rounds, burst] nanoseconds a call, in the order of time."""
        self.wall_ns = 0
        """Wall time of all bursts, gaps between calls included."""

    def warm_up(self, *, count: int, seconds: float) -> None:
        """Calls the model at least `count` times and for at least `seconds`."""
        clock, infer, images = time.perf_counter_ns, self._infer, self._images
        start = clock()
        while len(self.warmup_ns) < count or clock() - start < seconds * 1e9:
            before = clock()
            infer(images)
            self.warmup_ns.append(clock() - before)

    def turn(self, burst: int, settle_seconds: float = 0.0) -> None:
        """Calls once, and for at least `settle_seconds`, outside the clock; then a burst inside.

        A process that slept finds its core asleep or another's, and takes longer to be itself again
        than one call of a small network.
        """
        clock, infer, images = time.perf_counter_ns, self._infer, self._images
        start = clock()
        infer(images)
        while clock() - start < settle_seconds * 1e9:
            infer(images)
        marks = [0] * (2 * burst)
        for index in range(0, 2 * burst, 2):
            marks[index] = clock()
            infer(images)
            marks[index + 1] = clock()
        self.wall_ns += marks[-1] - marks[0]
        self.turns_ns.append([marks[i + 1] - marks[i] for i in range(0, 2 * burst, 2)])


@contextmanager
def no_garbage_collection() -> Iterator[None]:
    """Collects once, then keeps the collector from landing inside one model's clock."""
    was_enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
