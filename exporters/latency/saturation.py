"""When a sweep over batch sizes may stop: larger batches no longer give more images a second.

Triton Model Navigator doubles the batch until throughput grows by less than 5 % for two steps. A
step is held here against the best throughput before it, not against its neighbour: a single noisy
dip would otherwise make the next step look like growth.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from cake_edge.errors import NumericsError, UsageMistake

__all__ = ["GAIN", "TIMES", "saturated"]

GAIN = 0.05
"""A step that gives less than this share more than the best before it gains nothing."""
TIMES = 2
"""So many such steps in a row end a sweep."""


def saturated(throughputs: Sequence[float], gain: float = GAIN, times: int = TIMES) -> bool:
    """Says whether the last `times` steps of a sweep all gained less than `gain`.

    Args:
        throughputs: images a second, [steps], in the order of the sweep (batch 1, 2, 4, …).
        gain: share of the best throughput before a step that the step must add to it.
        times: how many steps in a row must fall short.

    Raises:
        UsageMistake: gain is negative or not finite, or times is below 1.
        NumericsError: a throughput is not finite or not positive.
    """
    if not (math.isfinite(gain) and gain >= 0):
        raise UsageMistake(f"gain is {gain}; it must be a share of 0 or more, as 0.05")
    if times < 1:
        raise UsageMistake(f"times is {times}; it must be at least 1")
    if not all(math.isfinite(value) and value > 0 for value in throughputs):
        raise NumericsError("throughputs must be finite and positive, in images a second")
    if len(throughputs) <= times:
        return False
    return all(
        throughputs[step] < (1 + gain) * max(throughputs[:step])
        for step in range(len(throughputs) - times, len(throughputs))
    )
