"""What an inference costs in energy: a power sensor sampled beside the work, and integrated.

The sensors of a Jetson average over their own window and answer some hundred times a second at
most, while an inference takes milliseconds. One inference cannot be measured; a run of many can:
the energy of the run divided by its inferences. Two figures come out, both honest and different:
with the power that the device draws idle (what a battery pays), and without it (what the inference
adds, which a device that is on anyway pays). Idle power is measured right before, at the same
temperature and clocks.

The uncertainty is that of sampling alone: the standard error of mean power, found from batch means
as neighbouring samples are alike (Alexopoulos and Seila 1996). The sensor's own error, 1 % and more
for an INA3221 with its resistor, comes on top and is not known.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt

from cake_edge.errors import NumericsError, UsageMistake

__all__ = ["Energy", "PowerSampler", "PowerTrace", "energy", "sample_power"]

Values = npt.NDArray[np.float64]

LEAST_HZ = 10.0
LEAST_SAMPLES = 50
"""Below this the run was too short for its sensor: five seconds at 10 Hz."""
LEAST_COVERED = 0.95
"""Share of the run's time that lies between two samples."""
LEAST_SHARE = 0.001
"""Of idle power, that an inference must add to be seen at all."""
BATCHES = 10
QUANTILE = 2.262
"""Of Student's t with 9 degrees of freedom, for a two-sided 95 % interval."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PowerTrace:
    """A sensor's readings over time."""

    rail: str
    """What was measured."""
    seconds: Values
    """[n] monotonic times of the readings, rising."""
    watts: Values
    """[n] the readings."""
    failures: int = 0
    """Readings that the sensor refused."""

    def __post_init__(self) -> None:
        if self.seconds.shape != self.watts.shape or self.seconds.ndim != 1:
            raise UsageMistake(
                f"times have shape {self.seconds.shape} and watts {self.watts.shape}; "
                "both must be [n]"
            )

    @property
    def hz(self) -> float:
        """Readings a second; 0 for fewer than two."""
        if self.seconds.size < 2:
            return 0.0
        return float((self.seconds.size - 1) / (self.seconds[-1] - self.seconds[0]))


@dataclass(frozen=True, slots=True, kw_only=True)
class Energy:
    """Power and energy of a run of inferences."""

    rail: str
    """What was measured."""
    inferences: int
    """How many there were."""
    seconds: float
    """How long they took together."""
    samples: int
    """Readings while they ran."""
    hz: float
    """Readings a second."""
    mean_watts: float
    """Mean power while they ran."""
    peak_watts: float
    """The highest reading."""
    idle_watts: float | None
    """Mean power before, or None where it was not measured."""
    millijoules: float
    """Energy an inference, idle power included."""
    millijoules_uncertainty: float | None
    """Half the 95 % interval of that, from sampling; None for too few readings."""
    millijoules_above_idle: float | None
    """Energy an inference above what the device would have drawn idle."""
    millijoules_above_idle_uncertainty: float | None
    """Half its 95 % interval, the idle measurement's part included."""
    doubts: tuple[str, ...]
    """Why the figures should not be trusted; empty where they may be."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {**asdict(self), "doubts": list(self.doubts)}


class PowerSampler:
    """Reads a sensor in a thread of its own, from entering the context to leaving it."""

    def __init__(
        self,
        read: Callable[[], float],
        *,
        rail: str,
        hz: float = 50.0,
        clock: Callable[[], float] = time.monotonic,
        wait: Callable[[float], bool] | None = None,
    ) -> None:
        """Will call `read` `hz` times a second.

        Args:
            read: gives watts; may raise OSError or ValueError, which skips a reading.
            clock: monotonic seconds; the same that the intervals given to `energy` are in.
            wait: waits so many seconds, and says whether it is time to stop.

        Raises:
            UsageMistake: fewer than 10 readings a second.
        """
        if not hz >= LEAST_HZ:
            raise UsageMistake(f"hz is {hz}; a power sensor must be read at least {LEAST_HZ:g} Hz")
        self._read, self._rail, self._period, self._clock = read, rail, 1 / hz, clock
        self._stop = threading.Event()
        self._wait = wait or self._stop.wait
        self._thread = threading.Thread(target=self._run, name="power", daemon=True)
        self._readings: list[tuple[float, float]] = []
        self._failures = 0

    def trace(self) -> PowerTrace:
        """What has been read so far."""
        readings = np.asarray(list(self._readings), dtype=np.float64).reshape(-1, 2)
        return PowerTrace(
            rail=self._rail,
            seconds=readings[:, 0],
            watts=readings[:, 1],
            failures=self._failures,
        )

    def _run(self) -> None:
        due = self._clock()
        while True:
            before = self._clock()
            try:
                watts = self._read()
            except (OSError, ValueError):
                self._failures += 1
            else:
                # A reading belongs to the middle of the time that the bus took for it.
                self._readings.append(((before + self._clock()) / 2, watts))
            # A late reading is not made up for: two at once would tell the same twice.
            due = max(due + self._period, self._clock())
            if self._wait(due - self._clock()):
                return

    def __enter__(self) -> PowerSampler:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.join()


def sample_power(
    read: Callable[[], float],
    work: Callable[[], Any],
    *,
    rail: str,
    hz: float = 50.0,
) -> PowerTrace:
    """Reads a sensor while `work` runs, and returns the readings.

    Args:
        read: gives watts, as `exporters.devices.Rails.reader` does.
        work: what to run meanwhile, `time.sleep` for an idle measurement.

    Raises:
        UsageMistake: fewer than 10 readings a second were asked for.
    """
    with PowerSampler(read, rail=rail, hz=hz) as sampler:
        work()
    return sampler.trace()


def energy(
    trace: PowerTrace,
    intervals: Sequence[tuple[float, float]],
    idle: PowerTrace | None = None,
    *,
    inferences: int | None = None,
) -> Energy:
    """Integrates power over the times in which inferences ran.

    Args:
        trace: readings from before the first interval to after the last.
        intervals: (start, end) in seconds of the trace's clock, in order and apart.
        idle: readings of the same rail while nothing ran.
        inferences: how many ran in all; one an interval if it is not given.

    Raises:
        UsageMistake: there are no intervals, they overlap, or `idle` is of another rail.
        NumericsError: there are no readings.
    """
    count = len(intervals) if inferences is None else inferences
    _check(trace, intervals, idle, count)
    seconds = sum(end - start for start, end in intervals)
    joules = sum(_integral(trace, start, end) for start, end in intervals)
    inside = np.concatenate([_between(trace, start, end) for start, end in intervals])
    per = 1000 * seconds / count
    error = _standard_error(inside)
    idle_watts = float(idle.watts.mean()) if idle is not None else None
    idle_error = _standard_error(idle.watts) if idle is not None else None
    both = None if error is None or idle_error is None else float(np.hypot(error, idle_error))
    mean = joules / seconds
    return Energy(
        rail=trace.rail,
        inferences=count,
        seconds=seconds,
        samples=int(inside.size),
        hz=trace.hz,
        mean_watts=mean,
        peak_watts=float(inside.max()) if inside.size else mean,
        idle_watts=idle_watts,
        millijoules=mean * per,
        millijoules_uncertainty=None if error is None else QUANTILE * error * per,
        millijoules_above_idle=None if idle_watts is None else (mean - idle_watts) * per,
        millijoules_above_idle_uncertainty=None if both is None else QUANTILE * both * per,
        doubts=tuple(_doubts(trace, intervals, idle, inside, mean - (idle_watts or 0.0), both)),
    )


def _check(
    trace: PowerTrace,
    intervals: Sequence[tuple[float, float]],
    idle: PowerTrace | None,
    inferences: int,
) -> None:
    if not intervals or inferences < 1:
        raise UsageMistake(
            f"{len(intervals)} intervals with {inferences} inferences; give at least one of each"
        )
    edges = np.asarray(intervals, dtype=np.float64).reshape(-1)
    if (np.diff(edges) < 0).any() or (edges[1::2] <= edges[::2]).any():
        raise UsageMistake("intervals must be (start, end) with start < end, in order and apart")
    if idle is not None and idle.rail != trace.rail:
        raise UsageMistake(
            f"idle power is of {idle.rail} and the run's of {trace.rail}; measure both on one rail"
        )
    for each in (trace, idle):
        if each is not None and not (each.watts.size and np.isfinite(each.watts).all()):
            raise NumericsError(
                f"no usable readings of {each.rail} ({each.failures} refused): "
                "is the sensor readable?"
            )


def _integral(trace: PowerTrace, start: float, end: float) -> float:
    """Joules between two times by the trapezoid rule, readings continued beyond their ends."""
    inner = (trace.seconds > start) & (trace.seconds < end)
    times = np.concatenate([[start], trace.seconds[inner], [end]])
    watts = np.interp(times, trace.seconds, trace.watts)
    return float(np.sum((watts[1:] + watts[:-1]) / 2 * np.diff(times)))


def _between(trace: PowerTrace, start: float, end: float) -> Values:
    chosen: Values = trace.watts[(trace.seconds >= start) & (trace.seconds <= end)]
    return chosen


def _standard_error(values: Values) -> float | None:
    """Of the mean, from the means of ten equal batches; None for fewer than two a batch."""
    if values.size < 2 * BATCHES:
        return None
    size = values.size // BATCHES
    means = values[: size * BATCHES].reshape(BATCHES, size).mean(axis=1)
    return float(means.std(ddof=1) / np.sqrt(BATCHES))


def _doubts(
    trace: PowerTrace,
    intervals: Sequence[tuple[float, float]],
    idle: PowerTrace | None,
    inside: Values,
    above_idle: float,
    error: float | None,
) -> list[str]:
    said = []
    if inside.size < LEAST_SAMPLES:
        said.append(f"only {inside.size} readings while it ran; {LEAST_SAMPLES} are the least")
    if trace.hz < LEAST_HZ:
        said.append(f"the sensor was read {trace.hz:.1f} times a second, less than {LEAST_HZ:g}")
    first, last = trace.seconds[0], trace.seconds[-1]
    covered = sum(max(0.0, min(end, last) - max(start, first)) for start, end in intervals)
    if covered < LEAST_COVERED * sum(end - start for start, end in intervals):
        said.append("readings do not span the run")
    if idle is not None and idle.watts.size < LEAST_SAMPLES:
        said.append(f"only {idle.watts.size} idle readings; {LEAST_SAMPLES} are the least")
    if idle is not None and above_idle <= max(
        QUANTILE * (error or 0.0), LEAST_SHARE * idle.watts.mean()
    ):
        said.append(
            "it drew hardly more than when idle: something else ran before, clocks moved, or the "
            "work is too light for this sensor"
        )
    return said
