"""Priors: where a synthetic image starts."""

from __future__ import annotations

from cake_edge.priors.base import Prior
from cake_edge.priors.gaussian import gaussian
from cake_edge.priors.gratings import gratings
from cake_edge.priors.leaves import leaves
from cake_edge.priors.mixture import broad, structured
from cake_edge.priors.names import Priors, anchored, declared, placeless, user_images
from cake_edge.priors.random_network import random_network
from cake_edge.priors.shapes import shapes
from cake_edge.priors.spectrum import spectrum

__all__ = [
    "PRIORS",
    "Prior",
    "anchored",
    "broad",
    "declared",
    "gaussian",
    "gratings",
    "leaves",
    "placeless",
    "random_network",
    "shapes",
    "spectrum",
    "structured",
    "user_images",
]

PRIORS = Priors(
    {
        "structured": structured,
        "broad": broad,
        "shapes": shapes,
        "leaves": leaves,
        "spectrum": spectrum,
        "gratings": gratings,
        "random-network": random_network,
        "gaussian": gaussian,
    }
)
"""By name; `folder:PATH` and `photo:PATH` name a user's own images."""
