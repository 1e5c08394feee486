"""Times several models side by side on one machine, so that its noise hits all of them alike.

Models take turns (A B C, then in another order, …), each turn as `lane` makes it. Comparing two
models compares their turns of the same round, so a neighbour that slows the machine for a second
slows both sides. Here all models share this process; `isolation` gives each one of its own.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from cake_edge.errors import UsageMistake
from cake_edge.progress import Progress, silent
from exporters.latency import statistics
from exporters.latency.early_stopping import percentile_bound
from exporters.latency.lane import Images, Inference, Lane, no_garbage_collection
from exporters.latency.statistics import Interval, Samples, Stability, Summary

__all__ = [
    "Images",
    "Inference",
    "LatencyConfig",
    "LatencyResult",
    "measure",
    "paired_ratio",
    "random_images",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class LatencyConfig:
    """How long and how often to measure; both a time and a count must be met."""

    warmup_seconds: float = 0.5
    """Warm-up of each model, at least this long."""
    warmup_count: int = 5
    """Warm-up of each model, at least this many calls."""
    min_seconds: float = 3.0
    """Wall time of the measurement per model; three models take three times as long."""
    min_count: int = 100
    """Timed calls of each model."""
    max_seconds: float = 60.0
    """Wall time per model at which to stop even with fewer calls than `min_count`."""
    burst: int = 5
    """Timed calls a turn."""
    batch: int = 1
    """Images a call."""
    seed: int = 0
    """Decides the order of turns, random images and bootstrap intervals."""

    def __post_init__(self) -> None:
        for name in ("warmup_count", "min_count", "burst", "batch"):
            if getattr(self, name) < 1:
                raise UsageMistake(f"{name} is {getattr(self, name)}; it must be at least 1")
        for name in ("warmup_seconds", "min_seconds"):
            if not 0 <= getattr(self, name) < np.inf:
                raise UsageMistake(f"{name} is {getattr(self, name)}; it must be 0 or more")
        if not self.min_seconds <= self.max_seconds:
            raise UsageMistake(
                f"max_seconds is {self.max_seconds}; it must be at least min_seconds "
                f"({self.min_seconds})"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class LatencyResult:
    """One model's latencies."""

    samples_ms: Samples
    """[rounds, burst] milliseconds a call, in the order of time."""
    batch: int
    """Images a call."""
    first_ms: float
    """The very first call, which pays for allocation and code that was never run."""
    warmup_mean_ms: float
    """Mean over the warm-up's calls, the first included."""
    throughput: float
    """Images a second over the wall time of this model's bursts, gaps between calls included."""
    summary: Summary = field(init=False)
    """The distribution of all samples."""
    stability: Stability = field(init=False)
    """Whether the machine held still."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "summary", statistics.summarise(self.samples_ms))
        object.__setattr__(self, "stability", statistics.stability(self.samples_ms.reshape(-1)))

    @classmethod
    def from_times(
        cls,
        *,
        turns_ns: Sequence[Sequence[int]],
        warmup_ns: Sequence[int],
        wall_ns: int,
        batch: int,
    ) -> LatencyResult:
        """Makes a result of what a `Lane` has measured, [rounds, burst] and [calls] nanoseconds."""
        samples = np.asarray(turns_ns, dtype=np.float64) / 1e6
        return cls(
            samples_ms=samples,
            batch=batch,
            first_ms=warmup_ns[0] / 1e6,
            warmup_mean_ms=float(np.mean(warmup_ns)) / 1e6,
            throughput=batch * samples.size / max(wall_ns / 1e9, 1e-9),
        )

    @property
    def rounds_ms(self) -> Samples:
        """[rounds] median of each turn: what two models measured together are compared by."""
        return np.asarray(np.median(self.samples_ms, axis=1), dtype=np.float64)

    def to_dict(self) -> dict[str, Any]:
        """The `latency_ms` object of a report: everything but the raw samples."""
        s = self.summary
        return {
            "p50": s.p50,
            "p90": s.p90,
            "p95": s.p95,
            "p99": s.p99,
            "mean": s.mean,
            "std": s.std,
            "cv": s.cv,
            "min": s.minimum,
            "max": s.maximum,
            "n_samples": s.count,
            "p99_reliable": s.p99_reliable,
            "p99_bound": percentile_bound(self.samples_ms, 0.99),
            "unstable": self.stability.unstable,
            "settled": self.stability.settled,
            "spread": self.stability.spread,
            "first": self.first_ms,
            "warmup_mean": self.warmup_mean_ms,
            "batch": self.batch,
            "images_per_second": self.throughput,
        }


def random_images(input_size: Sequence[int], config: LatencyConfig) -> Images:
    """Returns standard normal images, [batch, *input_size]; the time of a CNN ignores content."""
    random = np.random.default_rng(config.seed)
    return random.standard_normal((config.batch, *input_size), dtype=np.float32)


def measure(
    sessions: Sequence[Inference],
    images: Sequence[Images],
    config: LatencyConfig,
    progress: Progress = silent,
) -> list[LatencyResult]:
    """Measures open models in turns; `images[i]`, [batch, C, H, W], goes to `sessions[i]`.

    Returns:
        One result a session, in the order given; all have the same number of rounds.

    Raises:
        UsageMistake: there is no session, or an image array does not fit.
    """
    _check(sessions, images, config)
    lanes = [Lane(session, batch) for session, batch in zip(sessions, images, strict=True)]
    with no_garbage_collection():
        for lane in lanes:
            lane.warm_up(count=config.warmup_count, seconds=config.warmup_seconds)
        _take_turns(lanes, config, progress)
    return [
        LatencyResult.from_times(
            turns_ns=lane.turns_ns, warmup_ns=lane.warmup_ns, wall_ns=lane.wall_ns,
            batch=config.batch,
        )
        for lane in lanes
    ]  # fmt: skip


def paired_ratio(a: LatencyResult, b: LatencyResult, *, seed: int = 0) -> Interval:
    """How many times faster b is than a: the median over rounds of a / b, with its interval.

    Raises:
        UsageMistake: the two were not measured together.
    """
    return statistics.paired_ratio(a.rounds_ms, b.rounds_ms, seed=seed)


def _take_turns(lanes: list[Lane], config: LatencyConfig, progress: Progress) -> None:
    random = np.random.default_rng(config.seed)
    target, limit = config.min_seconds * len(lanes), config.max_seconds * len(lanes)
    start, calls = time.perf_counter(), 0
    while True:
        for index in random.permutation(len(lanes)):
            lanes[index].turn(config.burst)
        calls += config.burst
        elapsed = time.perf_counter() - start
        share = min(calls / config.min_count, elapsed / target if target else 1.0)
        progress("latency", min(int(100 * share), 100), 100, f"{calls} calls of each model")
        if share >= 1 or elapsed >= limit:
            return


def _check(sessions: Sequence[Inference], images: Sequence[Images], config: LatencyConfig) -> None:
    if not sessions:
        raise UsageMistake("no model to measure; give at least one")
    if len(images) != len(sessions):
        raise UsageMistake(
            f"{len(images)} image arrays for {len(sessions)} models; give one a model"
        )
    for array in images:
        if array.ndim != 4 or array.shape[0] != config.batch:
            raise UsageMistake(
                f"images have shape {list(array.shape)}; "
                f"they must be [{config.batch}, C, H, W] for batch {config.batch}"
            )
