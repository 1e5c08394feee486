"""The binomial distribution, summed term by term in whole numbers."""

from __future__ import annotations

from fractions import Fraction
from math import comb


def at_most(count, tries, chance):
    """P(X <= count) for X ~ Binomial(tries, chance), exact; `chance` is a Fraction."""
    return sum(
        (
            comb(tries, k) * chance**k * (1 - chance) ** (tries - k)
            for k in range(min(count, tries) + 1)
        ),
        Fraction(0),
    )


def most_over(tries, share, confidence):
    """The largest t for which at most t of `tries` calls are slower than the true percentile with
    probability at most 1 - confidence; 0 if there is none."""
    t = 0
    while at_most(t + 1, tries, 1 - share) <= 1 - confidence:
        t += 1
    return t
