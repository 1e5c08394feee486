"""Queries that arrive when they please, and wait where the model is busy.

The arrivals are settled before the first query, and a latency counts from the moment its query was
due. A slow answer therefore delays what is due meanwhile, and the delay is seen ("coordinated
omission" is the name for not seeing it: measuring from the moment the sender got round to sending).

Queries are served in the order in which they are due, by whichever worker is free: the queue
M/G/n of the textbooks, with one line.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from cake_edge.errors import UsageMistake
from exporters.latency.clock import Clock
from exporters.latency.lane import Images

__all__ = ["Limits", "Served", "poisson_arrivals", "serve"]

Seconds = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """When to give up on a run whose answer is known, or that would last too long."""

    seconds: float = np.inf
    """No query is begun so long after the first was due."""
    bound: float = np.inf
    """A query that takes longer than these seconds is over the bound."""
    over: int | None = None
    """So many queries over the bound end the run; None never does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """What became of the queries; arrays are [served], in the order in which they were due."""

    latencies: Seconds
    """From due to answered."""
    waits: Seconds
    """From due to begun."""
    wakeups: Seconds
    """From the moment a query was due and a worker free, to begun: the operating system's part."""
    elapsed: float
    """Seconds from the first moment to the last answer."""
    unserved: int
    """Queries that were given up."""


def poisson_arrivals(qps: float, count: int, seed: int) -> Seconds:
    """Returns when `count` queries of a Poisson process are due, [count] seconds from the start.

    Of one seed the gaps are the same for every rate but for their scale, so that a higher rate
    never fares better by the luck of the draw.

    Raises:
        UsageMistake: qps is not positive, or count is below 1.
    """
    if not 0 < qps < np.inf:
        raise UsageMistake(f"qps is {qps}; it must be a positive number of queries a second")
    if count < 1:
        raise UsageMistake(f"count is {count}; it must be at least 1")
    return np.cumsum(np.random.default_rng(seed).standard_exponential(count)) / qps


def serve(
    infer: Callable[[Images], Any],
    queries: Sequence[Images],
    arrivals: Seconds,
    clock: Clock,
    *,
    workers: int = 1,
    limits: Limits | None = None,
) -> Served:
    """Serves queries when they are due; query i takes `queries[i % len(queries)]`.

    Args:
        infer: answers one query; called by several threads at once where there are workers.
        arrivals: seconds from the start, [n], in order.
        workers: threads that serve; a single one is the calling thread.

    Raises:
        UsageMistake: there is no query or worker.
        Whatever `infer` raises; the other workers then stop.
    """
    if not len(queries) or not arrivals.size or workers < 1:
        raise UsageMistake(
            f"{len(queries)} inputs, {arrivals.size} arrivals and {workers} workers; "
            "give at least one of each"
        )
    line = _Line(infer, queries, arrivals, clock, limits or Limits())
    if workers == 1:
        line.work()
    else:
        _side_by_side(line, workers)
    return line.served()


def _side_by_side(line: _Line, workers: int) -> None:
    errors: list[BaseException] = []

    def work() -> None:
        try:
            line.work()
        except BaseException as error:  # noqa: BLE001  # raised in the thread that asked
            errors.append(error)

    threads = [
        threading.Thread(target=work, name=f"server-{number}", daemon=True)
        for number in range(workers)
    ]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        line.stop()
    if errors:
        raise errors[0]


class _Line:
    """The one line that all workers serve."""

    def __init__(
        self,
        infer: Callable[[Images], Any],
        queries: Sequence[Images],
        arrivals: Seconds,
        clock: Clock,
        limits: Limits,
    ) -> None:
        self._infer, self._queries, self._clock, self._limits = infer, queries, clock, limits
        self._start = clock.now()
        self._due = (self._start + arrivals).tolist()
        self._begun, self._done, self._woken = np.full((3, arrivals.size), np.nan)
        self._lock = threading.Lock()
        self._next, self._over, self._stopped = 0, 0, False

    def work(self) -> None:
        try:
            while (index := self._take()) is not None:
                self._answer(index)
        finally:
            # The first who leaves has found the line empty, or an error.
            self.stop()

    def stop(self) -> None:
        """Lets no query begin any more."""
        self._stopped = True

    def _take(self) -> int | None:
        with self._lock:
            if self._stopped or self._next == len(self._due):
                return None
            begins = max(self._clock.now(), self._due[self._next])
            if begins - self._start >= self._limits.seconds:
                return None
            self._next += 1
            return self._next - 1

    def _answer(self, index: int) -> None:
        clock, due = self._clock, self._due[index]
        images = self._queries[index % len(self._queries)]
        free = clock.now()
        if free < due:
            clock.sleep(due - free)
        begun = clock.now()
        self._infer(images)
        done = clock.now()
        self._begun[index], self._done[index] = begun, done
        self._woken[index] = begun - max(due, free)
        if done - due > self._limits.bound:
            with self._lock:
                self._over += 1
                self._stopped |= self._limits.over is not None and self._over >= self._limits.over

    def served(self) -> Served:
        answered = ~np.isnan(self._done)
        due = np.asarray(self._due)[answered]
        begun, done = self._begun[answered], self._done[answered]
        return Served(
            latencies=done - due,
            waits=begun - due,
            wakeups=self._woken[answered],
            elapsed=float(done.max() - self._start) if done.size else 0.0,
            unserved=int(answered.size - done.size),
        )
