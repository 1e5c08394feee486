"""What each sampler asks of a teacher, so that a refusal can name the samplers that work."""

from __future__ import annotations

from typing import Literal

__all__ = ["NEEDS", "Need", "samplers_without"]

Need = Literal["gradients", "statistics", "linear head", "exclusive classes"]

NEEDS: dict[str, frozenset[Need]] = {
    "cake": frozenset({"gradients"}),
    "cake-paper": frozenset({"gradients", "exclusive classes"}),
    "cmi": frozenset({"gradients"}),
    "data-impressions": frozenset({"gradients", "linear head", "exclusive classes"}),
    "deep-inversion": frozenset({"gradients", "statistics"}),
    "forward-only": frozenset(),
    "gdfq": frozenset({"gradients"}),
    "lake": frozenset({"gradients"}),
}
"""By the sampler's name. What a sampler uses where it is there and does without is no need."""


def samplers_without(need: Need) -> str:
    """Returns the names of the samplers that work without `need`, for a sentence."""
    return ", ".join(sorted(name for name, needs in NEEDS.items() if need not in needs))
