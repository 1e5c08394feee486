"""Batch sizes of a sweep, and where each model's sweep ends.

A sweep doubles the batch from 1 until throughput no longer grows (`saturation`), the largest batch
is reached, or the model does not take a larger one.
"""

from __future__ import annotations

from collections.abc import Iterator

from exporters.latency.saturation import GAIN, TIMES, saturated

__all__ = ["BatchSweep", "doublings"]


def doublings(largest: int) -> Iterator[int]:
    """Yields 1, 2, 4, … up to `largest`."""
    batch = 1
    while batch <= largest:
        yield batch
        batch *= 2


class BatchSweep:
    """One model's sweep: takes its throughputs in order, and says when and why it is over."""

    def __init__(self, largest: int) -> None:
        """Will go up to `largest` images a call."""
        self._last = list(doublings(largest))[-1]
        self._throughputs: list[float] = []
        self.why: str | None = None
        """Why it is over, in words; None while it goes on."""

    def add(self, batch: int, throughput: float) -> None:
        """Notes images a second of the next batch."""
        self._throughputs.append(throughput)
        if saturated(self._throughputs):
            self.why = (
                f"larger batches gained less than {GAIN:.0%} of images a second {TIMES} times "
                "in a row"
            )
        elif batch == self._last:
            self.why = "it is the largest that was asked for"

    def stop(self, why: str) -> None:
        """Ends it where a batch could not be measured."""
        self.why = why
