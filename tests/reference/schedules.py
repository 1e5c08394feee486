"""Step-size schedules of students, written from their definitions."""

from __future__ import annotations

import math


def half_cosine(start, stop, share):
    """From `start` at share 0 to `stop` at share 1, along half a cosine."""
    return stop + (start - stop) * (1 + math.cos(math.pi * share)) / 2


def one_cycle(step, total, peak, rise=0.3, divide_first=25.0, divide_last=1e4, low=0.85, high=0.95):
    """(learning rate, momentum) at `step` of `total`: Smith, arXiv 1708.07120, as torch has it.

    Two half cosines. The rate rises from peak / 25 to the peak, which it reaches at step
    0.3 total - 1, then falls to peak / 25 / 10^4 at the last step; momentum mirrors it.
    """
    turn = rise * total - 1
    if step <= turn:
        share = step / turn
        return half_cosine(peak / divide_first, peak, share), half_cosine(high, low, share)
    share = (step - turn) / (total - 1 - turn)
    return (
        half_cosine(peak, peak / divide_first / divide_last, share),
        half_cosine(low, high, share),
    )


def warm_cosine(step, total, peak, warmup, floor=0.0):
    """The rate at `step`: equal rises over `warmup` steps to the peak, then half a cosine down.

    Loshchilov, Hutter, arXiv 1608.03983, eq. 5, for a single period behind a linear warm-up (Goyal
    et al., arXiv 1706.02677, section 2.2). The first step already moves: its rate is peak / warmup.
    """
    if step < warmup:
        return sum(peak / warmup for _ in range(step + 1))
    return half_cosine(peak, floor, (step - warmup) / (total - warmup))
