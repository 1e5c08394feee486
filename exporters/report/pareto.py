"""Which models nobody should pick: another is at least as good in everything."""

from __future__ import annotations

from collections.abc import Sequence

from exporters.report.schema import Model

__all__ = ["dominators"]


def dominators(models: Sequence[Model]) -> list[int | None]:
    """Returns, for each model, the index of one that dominates it, or None.

    A model dominates another if it is no less accurate (top-1), no slower (median) and no larger,
    and better in at least one of them. Latency is left out where no model has any; a model that
    lacks a measure can neither dominate nor be dominated.
    """
    timed = any(model["latency_ms"] is not None for model in models)
    costs = [_cost(model, timed) for model in models]
    return [
        next((j for j, other in enumerate(costs) if _dominates(other, cost)), None)
        for cost in costs
    ]


def _cost(model: Model, timed: bool) -> tuple[float, ...] | None:
    """What a model costs, smaller is better; None where a measure is missing."""
    top1, latency = model["top1"], model["latency_ms"]
    if top1 is None or (timed and latency is None):
        return None
    time = () if latency is None else (latency["p50"],)
    return (-top1, *time, float(model["bytes"]))


def _dominates(a: tuple[float, ...] | None, b: tuple[float, ...] | None) -> bool:
    if a is None or b is None:
        return False
    return a != b and all(x <= y for x, y in zip(a, b, strict=True))
