"""From a step to a value. No state: a resumed run asks for the step it is at."""

from __future__ import annotations

import math

__all__ = ["cosine", "log_cosine", "log_linear", "one_cycle"]


def log_linear(step: int, total: int, first: float, decades: float) -> float:
    """Returns 10^(log10(first) - decades * step / total): CAKE's default step-size schedule."""
    return float(10 ** (math.log10(first) - decades * step / total))


def log_cosine(step: int, total: int, first: float, decades: float) -> float:
    """Returns CAKE's alternative: a half cosine in log10 from `first`, `decades` down."""
    last = math.log10(first) - decades
    return float(10 ** (last + decades / 2 * (1 + math.cos(math.pi * step / total))))


def cosine(step: int, total: int, peak: float, warmup: int = 0, floor: float = 0.0) -> float:
    """Returns a linear warm-up over `warmup` steps to `peak`, then a half cosine to `floor`."""
    if step < warmup:
        return peak * (step + 1) / warmup
    share = (step - warmup) / max(1, total - warmup)
    return floor + (peak - floor) * 0.5 * (1 + math.cos(math.pi * min(1.0, share)))


def one_cycle(
    step: int,
    total: int,
    peak: float,
    *,
    rise: float = 0.3,
    divide_first: float = 25.0,
    divide_last: float = 1e4,
    momentum: tuple[float, float] = (0.85, 0.95),
) -> tuple[float, float]:
    """Returns (learning rate, momentum) of the 1cycle policy (Smith, arXiv 1708.07120).

    Cosine pieces as in torch's OneCycleLR: up from peak / divide_first over the first `rise` of
    the steps, then down to peak / divide_first / divide_last; momentum moves the other way.
    """
    first, low_momentum, high_momentum = peak / divide_first, *momentum
    turning, end = rise * total - 1, total - 1
    if step <= turning:
        share, start, stop = step / turning, first, peak
        momenta = (high_momentum, low_momentum)
    else:
        share, start, stop = (step - turning) / (end - turning), peak, first / divide_last
        momenta = (low_momentum, high_momentum)
    weight = (1 + math.cos(math.pi * share)) / 2
    return stop + (start - stop) * weight, momenta[1] + (momenta[0] - momenta[1]) * weight
