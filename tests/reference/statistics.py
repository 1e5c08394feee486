"""Order statistics from their definition."""

from __future__ import annotations

from fractions import Fraction


def nearest_rank(samples, percent):
    """The smallest sample that at least `percent` percent of all samples do not exceed.

    Exact in rational arithmetic; percent in (0, 100].
    """
    share = Fraction(str(percent)) / 100
    for value in sorted(samples):
        below = sum(1 for other in samples if other <= value)
        if Fraction(below, len(samples)) >= share:
            return value
    raise AssertionError("the largest sample is at or above every percentile")
