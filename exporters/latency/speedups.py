"""How rows of one benchmark relate: who is how many times faster, and which setting serves best.

Only rows of equal threads and batch are compared. Those that took turns are compared round by
round; those measured one after the other by their medians alone, each resampled in blocks of
rounds, and the machine may have changed in between.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np

from cake_edge.errors import NumericsError
from exporters.latency.bootstrap import percentile, resampled_percentiles
from exporters.latency.statistics import Interval, Samples, paired_ratio

__all__ = ["best_rows", "speedups", "unpaired_ratio"]

RESAMPLES = 2000
CONFIDENCE = 0.95
Row = dict[str, Any]


def speedups(rows: Sequence[Row], *, paired: bool, seed: int) -> list[dict[str, Any] | None]:
    """Says of each row how many times faster it is than the first timed one of its setting.

    Args:
        rows: with `samples_ms`, [rounds, burst] or None, `threads` and `batch`.
        paired: rows of one setting took turns.

    Returns:
        An `Interval` as a dict with `paired`; None for the first of a setting and where there are
        no samples.
    """
    firsts: dict[Hashable, Samples] = {}
    found: list[dict[str, Any] | None] = []
    for row in rows:
        setting = row["threads"], row["batch"]
        if row["samples_ms"] is None:
            found.append(None)
            continue
        samples = np.asarray(row["samples_ms"], dtype=np.float64)
        if setting not in firsts:
            firsts[setting] = samples
            found.append(None)
            continue
        first = firsts[setting]
        if paired:
            ratio = paired_ratio(np.median(first, axis=1), np.median(samples, axis=1), seed=seed)
        else:
            ratio = unpaired_ratio(first, samples, seed=seed)
        found.append({**ratio.to_dict(), "paired": paired})
    return found


def unpaired_ratio(a: Samples, b: Samples, *, seed: int = 0) -> Interval:
    """Median of a over that of b, [rounds, burst] each; above 1, b is the faster.

    Raises:
        NumericsError: the median of b is zero.
    """
    if percentile(b, 50) == 0:
        raise NumericsError("a latency of zero has no ratio: the clock is too coarse for one call")
    medians = [
        resampled_percentiles(samples, (50,), resamples=RESAMPLES, seed=seed + number)[:, 0]
        for number, samples in enumerate((a, b))
    ]
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(medians[0] / medians[1], (tail, 1 - tail))
    return Interval(
        estimate=percentile(a, 50) / percentile(b, 50),
        low=float(low),
        high=float(high),
        confidence=CONFIDENCE,
    )


def best_rows(models: Sequence[int], rows: Sequence[Row]) -> list[dict[str, int]]:
    """Finds the setting of each model with the lowest median, and that with most images a second.

    Args:
        models: which model each row is about.
        rows: with `latency_ms`.

    Returns:
        `latency` and `throughput`, places in `rows`, for each model timed in several settings.
    """
    timed: dict[int, list[int]] = {}
    for place, (model, row) in enumerate(zip(models, rows, strict=True)):
        if row["latency_ms"] is not None:
            timed.setdefault(model, []).append(place)
    return [
        {
            "latency": min(places, key=lambda place: rows[place]["latency_ms"]["p50"]),
            "throughput": max(
                places, key=lambda place: rows[place]["latency_ms"]["images_per_second"]
            ),
        }
        for places in timed.values()
        if len(places) > 1
    ]
