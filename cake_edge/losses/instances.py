"""Telling images apart: two views of one image are alike, and unlike every other image.

The contrastive term of CMI (Fang et al., arXiv 2105.08584, eq. 4 and 5): with it a new image pays
for being like those that were made before.
"""

from __future__ import annotations

import torch
from torch.nn import functional

__all__ = ["instance_discrimination"]


def instance_discrimination(
    views: torch.Tensor, others: torch.Tensor, bank: torch.Tensor, temperature: float
) -> torch.Tensor:
    """Returns the loss of every image, [N], not reduced.

    -log of the share that an image's own other view has in exp(cosine / T), among that view, both
    views of the other images of the batch, and the bank.

    Args:
        views: embeddings of one view of N images, [N, D].
        others: those of another view of the same images, [N, D].
        bank: those of earlier images, [M, D]; M may be 0.
        temperature: T, positive.
    """
    views, others, bank = (functional.normalize(x, dim=1) for x in (views, others, bank))
    across = views @ others.t()
    same = torch.eye(len(views), dtype=torch.bool, device=views.device)
    within = (views @ views.t()).masked_fill(same, -torch.inf)
    every = torch.cat([across, within, views @ bank.t()], dim=1) / temperature
    return every.logsumexp(1) - across.diagonal() / temperature
