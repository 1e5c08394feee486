"""White noise in the normalised space: where CAKE as released starts (arXiv 2306.02090)."""

from __future__ import annotations

import torch

from cake_edge.spec import ImageSpec

__all__ = ["gaussian"]


def gaussian(count: int, spec: ImageSpec, random: torch.Generator) -> torch.Tensor:
    """Returns N(0, 1) draws, [count, C, H, W]."""
    return torch.randn((count, *spec.input_size), generator=random, device=random.device)
