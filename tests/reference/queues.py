"""Queues from the textbooks, and a clock on which their time passes at once."""

from __future__ import annotations

import threading


def lindley(arrivals, services):
    """Waiting times of a single server: W[i+1] = max(0, W[i] + S[i] - (A[i+1] - A[i])).

    Lindley, "The theory of queues with a single server", 1952.
    """
    waits = [0.0]
    for i in range(len(arrivals) - 1):
        waits.append(max(0.0, waits[i] + services[i] - (arrivals[i + 1] - arrivals[i])))
    return waits


def one_line(arrivals, services, servers):
    """Waiting times where several servers take from one line (Kiefer and Wolfowitz 1955)."""
    free = [0.0] * servers
    waits = []
    for arrival, service in zip(arrivals, services, strict=True):
        free.sort()
        begun = max(arrival, free[0])
        free[0] = begun + service
        waits.append(begun - arrival)
    return waits


def mean_wait_of_md1(rate, service):
    """Mean wait of Poisson arrivals at a server of constant service (Pollaczek and Khinchine)."""
    load = rate * service
    return load * service / (2 * (1 - load))


class Time:
    """A clock for one thread: sleeping is all that takes time."""

    def __init__(self):
        self._now = 0.0

    def now(self):
        return self._now

    def sleep(self, seconds):
        assert seconds >= 0
        self._now += seconds


class SharedTime:
    """A clock for several threads: it moves on when all of them sleep, to the first to wake.

    The threads are those whose names begin with `prefix`; `count` of them must have come first.
    """

    def __init__(self, prefix, count):
        self._prefix, self._count = prefix, count
        self._now, self._started = 0.0, False
        self._wakes = {}
        self._changed = threading.Condition()

    def now(self):
        return self._now

    def sleep(self, seconds):
        me = threading.get_ident()
        with self._changed:
            wake = self._wakes[me] = self._now + seconds
            while self._now < wake:
                self._move_on()
                if self._now < wake:
                    self._changed.wait(0.002)
            del self._wakes[me]

    def _move_on(self):
        alive = sum(t.name.startswith(self._prefix) for t in threading.enumerate())
        self._started |= len(self._wakes) == self._count
        first = min(self._wakes.values())
        if self._started and len(self._wakes) == alive and first > self._now:
            self._now = first
            self._changed.notify_all()


class Model:
    """Answers after given seconds, in the order of its calls, from the start again at the end."""

    def __init__(self, clock, services):
        self._clock, self._services, self._lock = clock, list(services), threading.Lock()
        self.seen = []

    def infer(self, images):
        with self._lock:
            service = self._services[len(self.seen) % len(self._services)]
            self.seen.append(images)
        self._clock.sleep(service)
        return images
