"""Order statistics from their definition."""

from __future__ import annotations

from fractions import Fraction
from itertools import product


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


def mean(samples):
    """Sum over count."""
    return sum(samples) / len(samples)


def coefficient_of_variation(samples):
    """Standard deviation with n - 1 in the denominator, over the mean."""
    middle = mean(samples)
    return (sum((x - middle) ** 2 for x in samples) / (len(samples) - 1)) ** 0.5 / middle


def median(samples):
    """The middle sample, or the mean of the two in the middle."""
    ordered, half = sorted(samples), len(samples) // 2
    if len(ordered) % 2:
        return ordered[half]
    return (ordered[half - 1] + ordered[half]) / 2


def every_block_median(samples, block):
    """The medians of all resamples of circular blocks (Politis and Romano 1992), each once."""
    n = len(samples)
    runs = -(-n // block)
    found = []
    for starts in product(range(n), repeat=runs):
        drawn = [samples[(start + i) % n] for start in starts for i in range(block)]
        found.append(median(drawn[:n]))
    return sorted(found)
