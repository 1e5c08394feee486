"""How far a batch is from what a network's layers remember of their training data.

The feature term of DeepInversion (Yin et al., arXiv 1912.08795, eq. 4) is, summed over the layers,
||mean - mean'|| + ||variance - variance'||, the dash for what is remembered. Its size depends on
the network: on depth, width and the scale of the activations. Here each layer is measured by
itself.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from cake_edge.errors import UsageMistake
from cake_edge.hooks import LayerStatistics

__all__ = ["statistics_distance"]

SMALLEST = 1e-12
"""Of a layer's own scale: one whose channels are all constant still divides."""


def statistics_distance(layers: Sequence[LayerStatistics]) -> torch.Tensor:
    """Returns the mean distance of the layers, a scalar.

    A layer's is ||mean - mean'|| / ||std'|| + ||variance - variance'|| / ||variance'|| with norms
    over the channels: the shift in standard deviations, and the relative change of the variance. It
    does not change when activations are scaled or channels are repeated, and its mean not when
    layers are added, so that one weight means the same for every network. Where a layer remembers
    no mean, its first part is left out.

    Args:
        layers: what a network was seen to compute.

    Raises:
        UsageMistake: there are none: the layers are there, but the network never calls them.
    """
    if not layers:
        raise UsageMistake(
            "the teacher's batch norms are never called while it computes (it reads their buffers "
            "itself), so their statistics cannot be matched; set statistics to 0"
        )
    norm = torch.linalg.vector_norm
    terms = []
    for layer in layers:
        remembered = layer.remembered_variance
        term = norm(layer.variance - remembered) / norm(remembered).clamp_min(SMALLEST)
        if layer.remembered_mean is not None:
            spread = remembered.sum().sqrt().clamp_min(SMALLEST)
            term = term + norm(layer.mean - layer.remembered_mean) / spread
        terms.append(term)
    return torch.stack(terms).mean()
