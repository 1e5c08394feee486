"""What passes through a network's layers, seen by hooks that are gone afterwards.

Layers are told by what they have and not by their class: batch norms of torch and timm, with an
activation, frozen or synchronised, keep `running_mean` and `running_var`; the batch variants of
EvoNorm keep `running_var` alone. A network read from a graph, or one whose batch norms were folded
into its convolutions, has none.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

__all__ = [
    "LayerStatistics",
    "StatisticsWatch",
    "input_of",
    "last_layer",
    "statistics_layers",
    "watch_input",
    "watch_statistics",
]

Moments = tuple[int, torch.Tensor, torch.Tensor]


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerStatistics:
    """What entered a layer in one pass, beside what it remembers of its training."""

    name: str
    """The layer's place in the network."""
    mean: torch.Tensor
    """[C], of every channel over images and places; gradients reach the images."""
    variance: torch.Tensor
    """[C], biased, likewise."""
    remembered_mean: torch.Tensor | None
    """[C]; None where the layer keeps none."""
    remembered_variance: torch.Tensor
    """[C]."""


def statistics_layers(network: nn.Module) -> dict[str, nn.Module]:
    """Returns the layers that remember the variance of each channel of their input, by name."""
    return {
        name: module
        for name, module in network.named_modules()
        if isinstance(getattr(module, "running_var", None), torch.Tensor)
    }


class StatisticsWatch:
    """Gathers what enters the layers until it is taken."""

    def __init__(self, layers: dict[str, nn.Module]) -> None:
        self.layers = layers
        self._moments: dict[str, list[Moments]] = {}

    def add(self, name: str, inputs: torch.Tensor) -> None:
        """Takes in what one call of a layer is given, [N, C, ...]."""
        variance, mean = torch.var_mean(inputs, dim=[0, *range(2, inputs.ndim)], correction=0)
        values = inputs.numel() // inputs.shape[1]
        self._moments.setdefault(name, []).append((values, mean, variance))

    def take(self) -> list[LayerStatistics]:
        """Returns the statistics since they were last taken, of the layers that ran, in order.

        Several calls of a layer count as one: it is used twice, or the network was shown its images
        in parts.
        """
        gathered, self._moments = self._moments, {}
        found = []
        for name, calls in gathered.items():
            mean, variance = _pooled(calls)
            layer = self.layers[name]
            found.append(
                LayerStatistics(
                    name=name,
                    mean=mean,
                    variance=variance,
                    remembered_mean=getattr(layer, "running_mean", None),
                    remembered_variance=layer.get_buffer("running_var"),
                )
            )
        return found


def _pooled(calls: list[Moments]) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and variance over all values of several groups."""
    total = sum(values for values, _, _ in calls)
    mean = torch.stack([m * (values / total) for values, m, _ in calls]).sum(0)
    spread = [(v + (m - mean).square()) * (values / total) for values, m, v in calls]
    return mean, torch.stack(spread).sum(0)


@contextmanager
def watch_statistics(network: nn.Module) -> Iterator[StatisticsWatch]:
    """Watches the layers that remember statistics inside the block, in passes with gradients."""
    watch = StatisticsWatch(statistics_layers(network))

    def hook_of(name: str) -> Any:
        def hook(module: nn.Module, args: tuple[Any, ...], named: dict[str, Any]) -> None:
            if torch.is_grad_enabled():
                watch.add(name, input_of(args, named))

        return hook

    handles = [
        layer.register_forward_pre_hook(hook_of(name), with_kwargs=True)
        for name, layer in watch.layers.items()
    ]
    try:
        yield watch
    finally:
        for handle in handles:
            handle.remove()


def input_of(args: tuple[Any, ...], named: dict[str, Any]) -> torch.Tensor:
    """Returns what a layer is called with, by place or by name, for hooks of any kind."""
    given: torch.Tensor = args[0] if args else next(iter(named.values()))
    return given


@contextmanager
def watch_input(layer: nn.Module) -> Iterator[list[torch.Tensor]]:
    """Gathers what the layer is given inside the block, one tensor a call, in a list to empty."""
    inputs: list[torch.Tensor] = []

    def hook(module: nn.Module, args: tuple[Any, ...], named: dict[str, Any]) -> None:
        inputs.append(input_of(args, named))

    handle = layer.register_forward_pre_hook(hook, with_kwargs=True)
    try:
        yield inputs
    finally:
        handle.remove()


def last_layer(network: nn.Module, images: torch.Tensor) -> nn.Module | None:
    """Returns the linear layer, or convolution of one by one, that runs last for some images.

    Of a classifier that is its head. None where there is none, as in a network read from a graph.
    """
    ran: list[nn.Module] = []

    def hook(module: nn.Module, args: tuple[Any, ...]) -> None:
        ran.append(module)

    handles = [
        module.register_forward_pre_hook(hook)
        for module in network.modules()
        if isinstance(module, nn.Linear)
        or (isinstance(module, nn.Conv2d) and set(module.kernel_size) == {1})
    ]
    try:
        with torch.no_grad():
            network(images)
    finally:
        for handle in handles:
            handle.remove()
    return ran[-1] if ran else None
