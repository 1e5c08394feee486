"""Priors: where a synthetic image starts."""

from __future__ import annotations

from cake_edge.priors.base import Prior
from cake_edge.priors.gaussian import gaussian
from cake_edge.priors.leaves import leaves
from cake_edge.priors.mixture import structured
from cake_edge.priors.shapes import shapes

__all__ = ["PRIORS", "Prior", "gaussian", "leaves", "shapes", "structured"]

PRIORS: dict[str, Prior] = {
    "structured": structured,
    "shapes": shapes,
    "leaves": leaves,
    "gaussian": gaussian,
}
