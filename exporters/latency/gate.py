"""When a change counts: the gate between noise and a regression.

A measure is worse if

1. its estimate got worse by more than its limit, and
2. the 95 % interval of the change lies beyond zero. Each side is resampled in blocks of
   neighbouring rounds (`exporters.latency.bootstrap`), the two sides independently.

Where the machine was not the model's alone during one of the two measurements
(`likeness.disturbance`), both conditions are put to the fastest tenth of calls instead. The
bootstrap sees how one run varied, but not that another process ran all through the other run. Other
work delays many calls and spares the fastest; a slower model is slower in every call. If even the
fastest tenth was not left alone, which is seen by its lying more than 3 % above the fastest
hundredth, nothing is proven either way.

What is beyond its limit and not proven so, or cannot be told, is called noisy. Sizes and accuracies
have no samples: they fail by the first condition alone; an energy by both, with its sensor's
interval.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from exporters.latency.bootstrap import percentile, resampled_percentiles
from exporters.latency.limits import MEASURES, Limit
from exporters.latency.statistics import Interval, Samples

__all__ = ["Change", "Resampled", "compare_samples", "judge", "resample", "worsening"]

FASTEST, HUNDREDTH = 10.0, 1.0
"""Percentiles of calls that other work spares."""
SHARES = (
    HUNDREDTH,
    FASTEST,
    *(m.percentile for m in MEASURES.values() if m.percentile is not None),
)
STEADY = 0.03
"""A fastest tenth this share above the fastest hundredth was not left alone."""
RESAMPLES = 1000
CONFIDENCE = 0.95
LEAST = 1e-9
"""Relative changes below this are rounding."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resampled:
    """One measurement's percentiles, and those of its resamples."""

    estimates: dict[float, float]
    """By share, of all calls."""
    draws: dict[float, npt.NDArray[np.float64]]
    """By share, [resamples]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What became of one measure."""

    base: float
    """Its value before."""
    new: float
    """Its value now."""
    interval: Interval | None
    """The relative change, (new - base) / base, and its interval; None where there is no noise."""
    verdict: str
    """worse, noisy, ok or better."""
    why: str
    """What spoke for the verdict."""


def resample(samples_ms: Samples, *, seed: int, resamples: int = RESAMPLES) -> Resampled:
    """Resamples one measurement, [rounds, burst] milliseconds, for every percentile at once."""
    draws = resampled_percentiles(samples_ms, SHARES, resamples=resamples, seed=seed)
    return Resampled(
        estimates={share: percentile(samples_ms, share) for share in SHARES},
        draws={share: draws[:, column] for column, share in enumerate(SHARES)},
    )


def compare_samples(
    base: Samples,
    new: Samples,
    limits: Sequence[Limit],
    *,
    disturbed: str | None = None,
    seed: int = 0,
) -> list[Change]:
    """Holds two measurements, [rounds, burst] milliseconds each, against limits of latencies.

    Args:
        disturbed: what else ran while one of them was measured, or None.
    """
    before, after = resample(base, seed=seed), resample(new, seed=seed + 1)
    return [judge(before, after, limit, disturbed=disturbed) for limit in limits]


def judge(base: Resampled, new: Resampled, limit: Limit, *, disturbed: str | None = None) -> Change:
    """Holds two resampled measurements against one limit of a latency, by the module's rule."""
    share = limit.measure.percentile
    if share is None:
        raise ValueError(f"{limit.name} has no samples")
    before, after = base.estimates[share], new.estimates[share]
    allowed = limit.amount / 100 if limit.relative else limit.amount / before
    interval = _change(base, new, share)
    verdict, why = _decide(interval, allowed)
    if disturbed is not None:
        verdict, why = _by_fastest(base, new, allowed, verdict)
        why = f"{disturbed}; {why}"
    return Change(base=before, new=after, interval=interval, verdict=verdict, why=why)


def worsening(base: float, new: float, limit: Limit, uncertainty: float | None = None) -> Change:
    """Holds two single values against a limit.

    Args:
        uncertainty: half the 95 % interval of new - base, where the values were measured.
    """
    sign = 1.0 if limit.measure.grows else -1.0
    worse = sign * (new - base)
    allowed = limit.amount / 100 * abs(base) if limit.relative else limit.amount
    beyond = worse > allowed + LEAST * abs(base)
    interval = None
    if uncertainty is not None and base > 0:
        change, half = (new - base) / base, uncertainty / base
        interval = Interval(
            estimate=change, low=change - half, high=change + half, confidence=CONFIDENCE
        )
    proven = uncertainty is None or worse > uncertainty
    if beyond and proven:
        return Change(
            base=base, new=new, interval=interval, verdict="worse", why="beyond its limit"
        )
    if beyond:
        why = "beyond its limit, but within what the measurement is uncertain by"
        return Change(base=base, new=new, interval=interval, verdict="noisy", why=why)
    better = -worse > allowed + LEAST * abs(base) and (uncertainty is None or -worse > uncertainty)
    verdict = "better" if better else "ok"
    return Change(base=base, new=new, interval=interval, verdict=verdict, why="within its limit")


def _change(base: Resampled, new: Resampled, share: float) -> Interval:
    ratios = new.draws[share] / base.draws[share] - 1
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(ratios, (tail, 1 - tail))
    return Interval(
        estimate=new.estimates[share] / base.estimates[share] - 1,
        low=float(low),
        high=float(high),
        confidence=CONFIDENCE,
    )


def _decide(change: Interval, allowed: float) -> tuple[str, str]:
    if change.estimate > allowed + LEAST:
        if change.low > 0:
            return "worse", "beyond its limit, and its interval beyond zero"
        return "noisy", "beyond its limit, but its interval holds zero"
    if change.estimate < -allowed - LEAST and change.high < 0:
        return "better", "improved by more than the limit, and its interval below zero"
    return "ok", "within its limit"


def _by_fastest(base: Resampled, new: Resampled, allowed: float, verdict: str) -> tuple[str, str]:
    """The verdict where the machine was disturbed; `verdict` is what the measure says itself."""
    for side in (base, new):
        if side.estimates[FASTEST] > (1 + STEADY) * side.estimates[HUNDREDTH]:
            return "noisy", "not even the fastest tenth of calls was left alone"
    change = _change(base, new, FASTEST)
    fastest, why = _decide(change, allowed)
    said = f"the fastest tenth of calls changed by {100 * change.estimate:+.1f} %"
    if fastest == "ok" and verdict == "worse":
        return "noisy", f"{said} only"
    return fastest, f"{said}: {why}"
