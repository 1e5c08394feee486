"""Where a quantizer's grid lies before anything is trained.

min-max: the extremes of the weight; of an activation their exponential moving average over
batches (Xu et al., ECCV 2020, section 4.1). least-error: the grid within those extremes that has
the least squared rounding error.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

import torch

from cake_edge.errors import NumericsError
from cake_edge.qat.convert import float_mode, quantized_layers, weight_quantizer
from cake_edge.qat.fake_quant import SMALLEST_STEP, fake_quantize

__all__ = ["Start", "calibrate"]

Start = Literal["least-error", "min-max"]

DECAY = 0.9
"""Of the moving averages of the extremes."""
SHRINK = 80
"""Grids that are tried, evenly from all of the extremes down to a fortieth of them."""
SAMPLE = 1 << 13
"""Values of a tensor that are kept of a batch, evenly spread over it."""


@torch.no_grad()
def calibrate(network: torch.nn.Module, batches: Iterable[torch.Tensor], start: Start) -> None:
    """Sets the ranges of every quantizer of a fake-quantized network, in place.

    Activations are observed while nothing is quantized.

    Args:
        network: what `fake_quantized` returned.
        batches: images [N, C, H, W]; at least one batch.
        start: how to choose.

    Raises:
        NumericsError: an activation is NaN or infinite.
    """
    for _, layer in quantized_layers(network):
        _set_weight(layer, start)
    seen = {name: _Seen() for name, _ in quantized_layers(network)}
    hooks = [
        layer.input_quantizer.register_forward_pre_hook(seen[name].note)
        for name, layer in quantized_layers(network)
    ]
    try:
        with float_mode(network):
            for images in batches:
                network(images)
    finally:
        for hook in hooks:
            hook.remove()
    for name, layer in quantized_layers(network):
        low, high = seen[name].low, seen[name].high
        if not (low > -torch.inf and high < torch.inf):
            raise NumericsError(
                f"the input of {name} reaches from {low} to {high}: the network does not answer "
                "these images with numbers; check its weights and its normalisation"
            )
        layer.input_quantizer.set_range(low, high)
        if start == "least-error":
            _least_error(layer.input_quantizer, torch.cat(seen[name].sample), low, high)


class _Seen:
    """What has been seen of one tensor."""

    def __init__(self) -> None:
        self.low, self.high = 0.0, 0.0
        self.sample: list[torch.Tensor] = []

    def note(self, module: torch.nn.Module, args: tuple[torch.Tensor, ...]) -> None:
        low, high = (float(value) for value in torch.aminmax(args[0]))
        weight = 1 - DECAY if self.sample else 1.0
        self.low += weight * (low - self.low)
        self.high += weight * (high - self.high)
        flat = args[0].flatten()
        self.sample.append(flat[:: max(1, flat.numel() // SAMPLE)].clone())


def _least_error(quantizer: Any, values: torch.Tensor, low: float, high: float) -> None:
    """Shrinks both ends of a range alike."""
    best, least = 1.0, torch.inf
    for place in range(SHRINK):
        share = 1 - place / SHRINK * (1 - 1 / 40)
        quantizer.set_range(low * share, high * share)
        error = float((quantizer(values) - values).square().sum())
        if error < least:
            best, least = share, error
    quantizer.set_range(low * best, high * best)


def _set_weight(layer: Any, start: Start) -> None:
    quantizer = weight_quantizer(layer)
    weight = layer.parametrizations["weight"].original
    widest = weight.flatten(1).abs().amax(1)
    # A channel of zeros is zeros on every grid.
    widest = torch.where(widest > 0, widest, torch.ones_like(widest))
    best = (widest / quantizer.high).clamp_min(SMALLEST_STEP)
    least = torch.full_like(best, torch.inf)
    for place in range(SHRINK if start == "least-error" else 1):
        step = widest / quantizer.high * (1 - place / SHRINK * (1 - 1 / 40))
        given = fake_quantize(weight, step, quantizer.zero_point, quantizer.low, quantizer.high)
        error = (given - weight).square().flatten(1).sum(1)
        best = torch.where(error < least, step, best)
        least = torch.minimum(error, least)
    quantizer.step.copy_(best.clamp_min(SMALLEST_STEP))
