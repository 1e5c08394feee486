"""What each sampler asks of a teacher, so that a refusal can name the samplers that work."""

from __future__ import annotations

from typing import Literal

from cake_edge.errors import UsageMistake
from cake_edge.samplers.base import SamplerConfig
from cake_edge.teachers.anatomy import Gradient, input_gradient
from cake_edge.teachers.frozen import FrozenTeacher

__all__ = ["NEEDS", "Need", "refuse_without_gradients", "samplers_without"]

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


def refuse_without_gradients(sampler: SamplerConfig, teacher: FrozenTeacher) -> None:
    """Refuses a sampler that follows gradients where none reach the images.

    Such a teacher computes without recording what it does, rounds, or is so sure of everything that
    its answer does not move. Its images would stay what they were, or be smoothed alone.

    Raises:
        UsageMistake: it names the samplers that work.
    """
    if "gradients" not in NEEDS.get(sampler.name, ()) or not getattr(sampler, "pushed_share", 1):
        return
    found: Gradient = input_gradient(teacher)
    if found.reached and found.finite:
        return
    what = "none reaches them" if found.finite else "it is NaN or infinite"
    own = "; or --set pushed_share=0" if hasattr(sampler, "pushed_share") else ""
    raise UsageMistake(
        f"{sampler.name} moves images by the gradient of the teacher's answer, and {what}: the "
        "teacher records none, rounds, or is sure of everything. Use one of the samplers that work "
        f"without: {samplers_without('gradients')}{own}"
    )
