"""Batch statistics of synthetic images against those that a network's batch norms remember.

L_BNS of Xu et al., "Generative Low-bitwidth Data Free Quantization", ECCV 2020, eq. 3.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.nn import functional

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
    """Gathers, layer by layer, how far a batch is from what the norms remember."""

    def __init__(self, layers: int) -> None:
        self.layers = layers
        """Batch norms that are watched; 0 where the network has none."""
        self._terms: list[torch.Tensor] = []

    def add(self, norm: nn.Module, inputs: torch.Tensor) -> None:
        """Takes one layer's input [N, C, ...] in."""
        mean, variance = _moments(inputs)
        self._terms.append(
            functional.mse_loss(mean, norm.get_buffer("running_mean"))
            + functional.mse_loss(variance, norm.get_buffer("running_var"))
        )

    def take(self) -> torch.Tensor | None:
        """Returns the loss of the passes since it was last taken; None where there is no norm.

        A mean over layers of the mean over channels, as released; the paper sums. So one weight
        means the same for networks of every depth and width.
        """
        terms, self._terms = self._terms, []
        return torch.stack(terms).mean() if terms else None


def _moments(inputs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and biased variance of every channel, [C]."""
    variance, mean = torch.var_mean(inputs, dim=[0, *range(2, inputs.ndim)], correction=0)
    return mean, variance


@contextmanager
def watch_statistics(network: nn.Module) -> Iterator[StatisticsLoss]:
    """Watches every batch norm of `network` inside the block; its hooks are gone afterwards."""
    norms = [module for module in network.modules() if is_batch_norm(module)]
    loss = StatisticsLoss(len(norms))

    def hook(module: nn.Module, args: tuple[Any, ...]) -> None:
        if torch.is_grad_enabled() and args[0].requires_grad:
            loss.add(module, args[0])

    handles = [norm.register_forward_pre_hook(hook) for norm in norms]
    try:
        yield loss
    finally:
        for handle in handles:
            handle.remove()
