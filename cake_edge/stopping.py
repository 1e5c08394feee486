"""When a student has learned what it can: said without data, and without choosing among weights.

The learning rate stays at its height until agreement on held-out synthetic images, with the teacher
or the assistant that the student learns from, no longer rises; then it falls to zero over a third
of the steps done so far, and the result is the moving average at the end, as ever. What is decided
is how long training goes on, never which of its weights are taken.
"""

from __future__ import annotations

from collections.abc import Sequence

from cake_edge.schedules import cosine

__all__ = ["CHECKS", "last_step", "latest_turn", "looks_every", "settled", "settling_rate"]

CHECKS = 40
"""Looks at the held-out images in the most steps allowed."""
GAIN = 0.02
"""Share of what is decided otherwise that a rise must take away: a point where half is."""
LEAST = 4
"""Training goes on for this part of the most steps in any case: a student may be slow to start."""


def settled(checks: Sequence[tuple[int, float]], patience: int) -> bool:
    """Returns whether none of the last `patience` checks is above all before them by `GAIN`.

    Args:
        checks: (step, agreement in percent), in order, `CHECKS` in the most steps allowed.
        patience: how many checks may pass without a rise.
    """
    values = [agreement for _, agreement in checks]
    if len(values) <= max(patience, CHECKS // LEAST):
        return False
    before = max(values[:-patience])
    if before >= 100:  # nothing is left to rise to
        return True
    return max(values[-patience:]) < before + GAIN * (100 - before)


def looks_every(steps: int) -> int:
    """Returns the steps between two checks: a fortieth of `steps`, rounded up."""
    return -(-steps // CHECKS)


def latest_turn(steps: int) -> int:
    """Returns the step from which the rate must fall to be at zero after `steps`."""
    return max(1, steps * 3 // 4)


def last_step(turned: int | None, steps: int) -> int:
    """Returns after how many steps training ends: `steps` as long as nothing has been decided."""
    return steps if turned is None else min(steps, turned + _fall(turned))


def settling_rate(step: int, turned: int | None, peak: float, warmup: int) -> float:
    """Returns the learning rate: up over `warmup` steps, level, down from `turned` on."""
    if turned is None or step < turned:
        return peak * min(1.0, (step + 1) / warmup)
    return cosine(step - turned, _fall(turned), peak)


def _fall(turned: int) -> int:
    return max(1, -(-turned // 3))
