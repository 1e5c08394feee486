"""Mixtures of priors: one default for every task, fitted to none, and one of everything."""

from __future__ import annotations

import torch

from cake_edge.priors.gratings import gratings
from cake_edge.priors.leaves import leaves
from cake_edge.priors.random_network import random_network
from cake_edge.priors.shapes import shapes
from cake_edge.priors.spectrum import spectrum
from cake_edge.spec import ImageSpec

__all__ = ["broad", "structured"]

SHAPES_SHARE = 0.8
FAMILIES = (shapes, leaves, spectrum, gratings, random_network)


def structured(count: int, spec: ImageSpec, random: torch.Generator) -> torch.Tensor:
    """Returns four parts object-centric shapes and one part dead leaves, in random order."""
    objects = round(count * SHAPES_SHARE)
    images = torch.cat([shapes(objects, spec, random), leaves(count - objects, spec, random)])
    return images[torch.randperm(count, generator=random, device=random.device)]


def broad(count: int, spec: ImageSpec, random: torch.Generator) -> torch.Tensor:
    """Returns the same number of images of every procedural family, or one more, shuffled."""
    sizes = [len(part) for part in torch.arange(count).tensor_split(len(FAMILIES))]
    images = torch.cat(
        [family(size, spec, random) for family, size in zip(FAMILIES, sizes, strict=True)]
    )
    return images[torch.randperm(count, generator=random, device=random.device)]
