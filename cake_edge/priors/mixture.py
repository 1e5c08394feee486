"""The default prior: one mixture for every task, fitted to none."""

from __future__ import annotations

import torch

from cake_edge.priors.leaves import leaves
from cake_edge.priors.shapes import shapes
from cake_edge.spec import ImageSpec

__all__ = ["structured"]

SHAPES_SHARE = 0.8


def structured(count: int, spec: ImageSpec, random: torch.Generator) -> torch.Tensor:
    """Returns four parts object-centric shapes and one part dead leaves, in random order."""
    objects = round(count * SHAPES_SHARE)
    images = torch.cat([shapes(objects, spec, random), leaves(count - objects, spec, random)])
    return images[torch.randperm(count, generator=random, device=random.device)]
