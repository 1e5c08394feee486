"""How high a percentile may really be, after as few calls as were measured.

Of n independent calls, the number slower than the true percentile q is binomial with n and 1 - q.
Where t or fewer of n come with a probability of at most 1 - confidence, the t-th largest sample is
with that confidence no smaller than the true percentile. MLPerf reports that sample ("early
stopping", MLCommons inference rules, appendix; LoadGen's early_stopping.cc with tolerance 0): it
discards the t - 1 slowest calls and takes the slowest of the rest. It wants t >= 1, so 64 calls for
a p90 and 662 for a p99.

Calls that follow each other share the machine's mood and are not independent: on a machine that is
not at rest this bound is as good as the run was long.
"""

from __future__ import annotations

import math
from functools import cache

import numpy as np

from cake_edge.errors import NumericsError, UsageMistake
from exporters.latency.statistics import Samples

__all__ = ["CONFIDENCE", "allowed_over", "percentile_bound", "queries_needed"]

CONFIDENCE = 0.99
"""What MLPerf asks for."""


def percentile_bound(
    samples_ms: Samples, share: float, *, confidence: float = CONFIDENCE
) -> float | None:
    """Returns a latency that the true percentile does not exceed, or None after too few calls.

    Args:
        samples_ms: independent latencies, [n], in any order.
        share: the percentile as a share, 0.99 for p99.
        confidence: probability that the bound holds, over many such measurements.

    Raises:
        UsageMistake: share lies outside (0, 1), or confidence outside [0.5, 1).
        NumericsError: a sample is NaN.
    """
    values = np.asarray(samples_ms, dtype=np.float64).reshape(-1)
    allowed = allowed_over(values.size, share, confidence=confidence)
    if allowed == 0:
        return None
    if np.isnan(values).any():
        raise NumericsError("a latency is NaN; samples must be numbers")
    return float(np.partition(values, values.size - allowed)[values.size - allowed])


def allowed_over(count: int, share: float, *, confidence: float = CONFIDENCE) -> int:
    """Returns the t of the bound: how many of `count` calls may reach a limit on the percentile.

    A limit is held where fewer than t calls exceed it. 0 says that no count of slow calls, not
    even none, would be evidence enough.

    Raises:
        UsageMistake: share lies outside (0, 1), or confidence outside [0.5, 1).
    """
    _check(share, confidence)
    if count < 1:
        return 0
    # P(at most t slow) as a running sum; each term is the one before times a ratio, in logarithms,
    # as share ** count leaves the range of a float long before a minute has passed. The median is
    # beyond any t that is looked for: confidence is checked to be above one half.
    most = math.ceil(count * (1 - share)) + 1
    before = np.arange(min(most, count))
    steps = np.log(count - before) - np.log(before + 1) + math.log((1 - share) / share)
    terms = count * math.log(share) + np.concatenate([[0.0], np.cumsum(steps)])
    passed = np.logaddexp.accumulate(terms) <= math.log1p(-confidence)
    return max(int(np.count_nonzero(passed)) - 1, 0)


@cache
def queries_needed(share: float, *, confidence: float = CONFIDENCE) -> int:
    """Returns the fewest calls after which `percentile_bound` gives a figure.

    Raises:
        UsageMistake: share lies outside (0, 1), or confidence outside [0.5, 1).
    """
    _check(share, confidence)
    enough = 1
    while not allowed_over(enough, share, confidence=confidence):
        enough *= 2
    low, high = enough // 2, enough
    while high - low > 1:
        middle = (low + high) // 2
        if allowed_over(middle, share, confidence=confidence):
            high = middle
        else:
            low = middle
    return high


def _check(share: float, confidence: float) -> None:
    if not 0 < share < 1:
        raise UsageMistake(f"share is {share}; it must lie between 0 and 1, as 0.99 for p99")
    if not 0.5 <= confidence < 1:
        raise UsageMistake(f"confidence is {confidence}; it must lie in [0.5, 1), as 0.99")
