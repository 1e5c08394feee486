"""A float network as a fake-quantized copy: weights and inputs of every weighted layer.

Layers keep their classes and their forward: the weight is parametrized and the input passes a
hook, so padding, standardisation and the like stay what they are. Sums of residual branches,
softmax, norms and activations stay float.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from timm.layers.conv2d_same import Conv2dSame
from torch import nn
from torch.nn import functional
from torch.nn.utils import parametrize
from torch.overrides import TorchFunctionMode

from cake_edge.errors import UsageMistake
from cake_edge.qat.fake_quant import ActivationQuantizer, WeightQuantizer
from cake_edge.qat.fold import fold_batch_norm

__all__ = [
    "Conversion",
    "LayerBits",
    "fake_quantized",
    "float_mode",
    "quantized_layers",
    "weight_quantizer",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerBits:
    """How one layer is quantized."""

    name: str
    weight: int
    activation: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversion:
    """A fake-quantized network, and what became of each weighted layer."""

    network: nn.Module
    layers: tuple[LayerBits, ...]
    """In the order they are run."""
    left_float: Mapping[str, str] = field(default_factory=dict)
    """Weighted layers that are not quantized, and why."""
    folded: int = 0
    """Batch norms folded into the layer before them; others keep their frozen statistics."""


def fake_quantized(
    network: nn.Module,
    example: torch.Tensor,
    *,
    weight_bits: int,
    activation_bits: int,
    edge_bits: int = 8,
) -> Conversion:
    """Returns a copy of `network` in eval mode, its weighted layers fake-quantized.

    The ranges are to be set before it is used: `cake_edge.qat.ranges`.

    Args:
        network: a classifier of images; it is left as it is.
        example: images [N, C, H, W] to run it on; they decide which layers come first and last.
        weight_bits: 2 to 8.
        activation_bits: 2 to 8.
        edge_bits: of weights and inputs of the layers that run first and last.

    Raises:
        UsageMistake: bits are out of range, or the network runs no weighted layer.
    """
    plain = copy.deepcopy(network).eval()
    for name, shape in _ran(plain, example).items():
        layer = plain.get_submodule(name)
        plain.set_submodule(name, _materialised(layer, example.new_zeros(shape)))
    twin, folded = fold_batch_norm(plain, example)
    ran = list(_ran(twin, example))
    left = {
        name: "its forward is not called with the input alone"
        for name, layer in twin.named_modules()
        if isinstance(layer, (nn.Conv2d, nn.Linear)) and name not in ran
    }
    if not ran:
        raise UsageMistake(
            "the network runs no Conv2d and no Linear layer, so there is nothing to quantize"
        )
    edges = {ran[0], ran[-1]}
    layers = []
    for name in ran:
        bits = (edge_bits, edge_bits) if name in edges else (weight_bits, activation_bits)
        _quantize(twin.get_submodule(name), *bits)
        layers.append(LayerBits(name=name, weight=bits[0], activation=bits[1]))
    twin.to(example.device)
    return Conversion(network=twin, layers=tuple(layers), left_float=left, folded=folded)


def quantized_layers(network: nn.Module) -> Iterator[tuple[str, Any]]:
    """Yields (name, layer) of the quantized layers, in the order of the network's modules."""
    for name, module in network.named_modules():
        if isinstance(getattr(module, "input_quantizer", None), nn.Module):
            yield name, module


def weight_quantizer(layer: nn.Module) -> WeightQuantizer:
    """Returns the quantizer of a quantized layer's weight."""
    quantizers: Any = layer.parametrizations
    found = quantizers["weight"][0]
    assert isinstance(found, WeightQuantizer)
    return found


@contextmanager
def float_mode(network: nn.Module) -> Iterator[None]:
    """Lets every quantizer pass its values on unchanged inside the block."""
    quantizers: list[Any] = [
        m for m in network.modules() if isinstance(m, (WeightQuantizer, ActivationQuantizer))
    ]
    before = [quantizer.enabled for quantizer in quantizers]
    for quantizer in quantizers:
        quantizer.enabled = False
    try:
        yield
    finally:
        for quantizer, enabled in zip(quantizers, before, strict=True):
            quantizer.enabled = enabled


def _quantize_input(layer: Any, args: tuple[Any, ...]) -> tuple[Any, ...]:
    return (layer.input_quantizer(args[0]), *args[1:])


def _quantize(layer: Any, weight_bits: int, activation_bits: int) -> None:
    parametrize.register_parametrization(
        layer, "weight", WeightQuantizer(len(layer.weight), weight_bits).to(layer.weight.device)
    )
    layer.input_quantizer = ActivationQuantizer(activation_bits)
    layer.register_forward_pre_hook(_quantize_input)


@torch.no_grad()
def _ran(network: nn.Module, example: torch.Tensor) -> dict[str, tuple[int, ...]]:
    """Name and input shape of every weighted layer whose forward runs, in order."""
    ran: dict[str, tuple[int, ...]] = {}
    names = {module: name for name, module in network.named_modules()}

    def note(module: nn.Module, args: tuple[Any, ...]) -> None:
        if args:
            ran.setdefault(names[module], tuple(args[0].shape))

    layers = [m for m in network.modules() if isinstance(m, (nn.Conv2d, nn.Linear))]
    hooks = [layer.register_forward_pre_hook(note) for layer in layers]
    try:
        network(example)
    finally:
        for hook in hooks:
            hook.remove()
    return ran


class _SeenWeight(TorchFunctionMode):
    """Notes the weight and the padding that a layer really computes with."""

    weight: torch.Tensor | None = None

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func in (functional.conv2d, torch.conv2d, functional.linear):
            self.weight = args[1] if len(args) > 1 else kwargs["weight"]
        return func(*args, **kwargs)


@torch.no_grad()
def _materialised(layer: Any, inputs: torch.Tensor) -> nn.Module:
    """Returns the layer; or where it computes its weight (weight standardisation), a plain one.

    The plain layer keeps the weight that was computed, and pads as the other does.
    """
    with _SeenWeight() as seen:
        layer(inputs)
    if seen.weight is None or seen.weight is layer.weight:
        return cast(nn.Module, layer)
    kind: type[nn.Module] = nn.Linear
    if isinstance(layer, nn.Conv2d):
        kind = Conv2dSame if getattr(layer, "same_pad", False) else nn.Conv2d
    plain: Any = kind.__new__(kind)
    # Not built anew, which would draw weights; and not the old one with another class, which a
    # parametrized layer shares with its original.
    plain.__dict__ = {**layer.__dict__, "_parameters": {}, "_modules": {}}
    plain.weight = nn.Parameter(seen.weight.detach().clone())
    plain.bias = None if layer.bias is None else nn.Parameter(layer.bias.detach().clone())
    return cast(nn.Module, plain)
