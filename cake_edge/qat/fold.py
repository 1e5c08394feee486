"""Frozen batch normalisation folded into the convolution or linear layer before it.

    BN(Wx + b) = g (Wx + b - m) / sqrt(v + e) + t = (W k) x + (b - m) k + t,  k = g / sqrt(v + e)

Which layer feeds which normalisation is seen on a run, not guessed from names; and what was
folded is compared with what it was before, so that a wrong guess changes nothing.
"""

from __future__ import annotations

import copy
import logging
from collections import Counter

import torch
from torch import nn

from cake_edge.qat.statistics import is_batch_norm

__all__ = ["fold_batch_norm"]

logger = logging.getLogger(__name__)

# A few rounding orders of float32; a wrong fold differs by a thousand times that.
TOLERANCE = 1e-3


@torch.no_grad()
def fold_batch_norm(network: nn.Module, example: torch.Tensor) -> tuple[nn.Module, int]:
    """Returns (a copy in eval mode without the batch norms that follow a layer, their number).

    Where the copy does not answer as the network does, nothing is folded: the number is 0.

    Args:
        network: gives logits; it is left as it is.
        example: images [N, C, H, W] to run and to compare on.
    """
    folded = copy.deepcopy(network).eval()
    pairs = _pairs(folded, example)
    for layer, name in pairs:
        norm = folded.get_submodule(name)
        _fold(layer, norm)
        # timm's fused norms carry the activation that follows.
        carried = (getattr(norm, "drop", None), getattr(norm, "act", None))
        rest = [part for part in carried if part is not None]
        folded.set_submodule(name, nn.Sequential(*rest) if rest else nn.Identity())
    wanted, given = network.eval()(example), folded(example)
    if float((wanted - given).abs().max()) > TOLERANCE * max(1.0, float(wanted.abs().max())):
        logger.warning("folding batch norms changed the answers; they stay as they are")
        return copy.deepcopy(network).eval(), 0
    return folded, len(pairs)


def _pairs(network: nn.Module, example: torch.Tensor) -> list[tuple[nn.Conv2d | nn.Linear, str]]:
    """Layers and the names of the norms that alone take their output, each called once."""
    held: list[torch.Tensor] = []  # every tensor seen, so that no other gets its id
    outputs: dict[int, nn.Conv2d | nn.Linear] = {}
    readers: Counter[int] = Counter()
    calls: Counter[nn.Module] = Counter()
    seen: list[tuple[int, str]] = []
    names = {module: name for name, module in network.named_modules()}

    def before(module: nn.Module, args: tuple[object, ...]) -> None:
        calls[module] += 1
        if args and isinstance(args[0], torch.Tensor):
            held.append(args[0])
            readers[id(args[0])] += 1
            if is_batch_norm(module):
                seen.append((id(args[0]), names[module]))

    def after(module: nn.Module, args: tuple[object, ...], output: object) -> None:
        if isinstance(module, (nn.Conv2d, nn.Linear)) and isinstance(output, torch.Tensor):
            held.append(output)
            outputs[id(output)] = module

    leaves = [
        module
        for module in network.modules()
        if is_batch_norm(module) or not (list(module.children()) or isinstance(module, nn.Identity))
    ]
    hooks = [m.register_forward_pre_hook(before) for m in leaves]
    hooks += [m.register_forward_hook(after) for m in leaves]
    try:
        network(example)
    finally:
        for hook in hooks:
            hook.remove()
    found = []
    for key, name in seen:
        if key not in outputs or readers[key] != 1:
            continue
        layer = outputs[key]
        if calls[layer] == 1 and calls[network.get_submodule(name)] == 1:
            found.append((layer, name))
    return found


def _fold(layer: nn.Conv2d | nn.Linear, norm: nn.Module) -> None:
    mean, variance = norm.get_buffer("running_mean"), norm.get_buffer("running_var")
    gain, shift = getattr(norm, "weight", None), getattr(norm, "bias", None)
    factor = torch.rsqrt(variance + float(getattr(norm, "eps", 1e-5)))
    if gain is not None:
        factor = factor * gain
    bias = layer.bias if layer.bias is not None else torch.zeros_like(mean)
    moved = (bias - mean) * factor + (shift if shift is not None else 0)
    layer.weight.mul_(factor.view(-1, *(1,) * (layer.weight.ndim - 1)))
    layer.bias = nn.Parameter(moved.clone(), requires_grad=layer.weight.requires_grad)
