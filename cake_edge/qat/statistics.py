"""Batch statistics of synthetic images against those that a network's batch norms remember.

L_BNS of Xu et al., "Generative Low-bitwidth Data Free Quantization", ECCV 2020, eq. 3.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn
from torch.nn import functional

from cake_edge import hooks
from cake_edge.hooks import StatisticsWatch

__all__ = ["StatisticsLoss", "is_batch_norm", "watch_statistics"]


def is_batch_norm(module: nn.Module) -> bool:
    """True of a layer that normalises channels by remembered statistics.

    Told by what it has, not by its class: torch's batch norms of every kind, timm's with an
    activation, and frozen ones, which keep all of it in buffers.
    """
    mean = getattr(module, "running_mean", None)
    return isinstance(mean, torch.Tensor) and isinstance(
        getattr(module, "running_var", None), torch.Tensor
    )


class StatisticsLoss:
    """How far batches are, layer by layer, from what the batch norms remember."""

    def __init__(self, watch: StatisticsWatch) -> None:
        self._watch = watch
        self.layers = sum(is_batch_norm(layer) for layer in watch.layers.values())
        """Batch norms that are watched; 0 where the network has none."""

    def take(self) -> torch.Tensor | None:
        """Returns the loss of the passes since it was last taken; None where there is no norm.

        A mean over layers of the mean over channels, as released; the paper sums. So one weight
        means the same for networks of every depth and width.
        """
        terms = [
            functional.mse_loss(layer.mean, layer.remembered_mean)
            + functional.mse_loss(layer.variance, layer.remembered_variance)
            for layer in self._watch.take()
            if layer.remembered_mean is not None
        ]
        return torch.stack(terms).mean() if terms else None


@contextmanager
def watch_statistics(network: nn.Module) -> Iterator[StatisticsLoss]:
    """Watches every batch norm of `network` inside the block, in passes with gradients."""
    with hooks.watch_statistics(network) as watch:
        yield StatisticsLoss(watch)
