"""The highest rate of queries that a model bears, by bisection.

A run that holds at one rate by luck would mislead all that follows, and noise makes luck common.
So the rate that bisection ends with must hold once more with other arrivals; where it does not, the
search begins again below it, and every rate must then hold twice.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from cake_edge.errors import UsageMistake

__all__ = ["highest_rate"]

SMALLEST = 1e-3
"""Share of the ceiling below which nothing is looked for."""


def highest_rate(
    holds: Callable[[float, bool], bool],
    ceiling: float,
    *,
    resolution: float = 0.02,
    most: int = 24,
) -> float | None:
    """Returns the highest rate found that holds twice, or None where none does.

    Args:
        holds: tries a rate; its second argument asks for other arrivals than the first try's.
        ceiling: a rate that cannot hold.
        resolution: the answer is at most this share below a rate that did not hold, unless the
            tries ran out.
        most: tries, confirmations included; a rate's second one may come on top.

    Raises:
        UsageMistake: ceiling, resolution or most is not positive.
    """
    if not (0 < ceiling < math.inf and 0 < resolution < math.inf and most >= 1):
        raise UsageMistake(
            f"ceiling {ceiling}, resolution {resolution}, {most} tries: all must be positive"
        )
    low, left = 0.0, most
    high, twice = ceiling, False
    while left > 0 and high >= SMALLEST * ceiling:
        if high <= low * (1 + resolution):
            if twice or holds(low, True):
                return low
            # That was luck, and so may be all that held below it.
            low, high, twice, left = 0.0, low, True, left - 1
            continue
        rate = math.sqrt(low * high) if low else high / 2
        passed = holds(rate, False) and not (twice and not holds(rate, True))
        left -= 1 + twice
        low, high = (rate, high) if passed else (low, rate)
    return low if twice and low else None
