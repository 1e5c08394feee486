"""Folds scales into a LayerNormalization and the linear layers that read it.

    W (n * gamma + beta) = (W S) (n * (gamma / s) + beta / s),

n the normalised input: exact for every input. A few channels of a transformer's normalised tensor
are tens of times wider than the rest and leave them a few of the 255 levels; the weights take up
part of the difference (SmoothQuant, Xiao et al., ICML 2023, section 4; RepQ-ViT, Li et al., ICCV
2023, section 3.2, which goes all the way). How far is said in `scales`. All readers must be linear
layers, as anything else would see the divided values.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping

import onnx

from exporters.quantize.rewrites.channels import ChannelRange
from exporters.quantize.rewrites.interface import Rewrite
from exporters.quantize.rewrites.scales import channel_scales
from exporters.quantize.rewrites.walk import Walk, attributes

__all__ = ["LAYER_NORM"]

CHANNEL_AXIS = -1


def _tensors(model: onnx.ModelProto) -> dict[str, int]:
    return {node.output[0]: CHANNEL_AXIS for node in _places(Walk(model))}


def _apply(
    model: onnx.ModelProto, ranges: Mapping[str, ChannelRange]
) -> tuple[onnx.ModelProto, int]:
    walk = Walk(copy.deepcopy(model))
    changed = 0
    for node in _places(walk):
        name = node.output[0]
        consumers = walk.consumers(name)
        scale = channel_scales(walk, [ranges[name]], consumers)
        if (scale == 1).all():
            continue
        for position in range(1, len(node.input)):
            values = walk.constant(node.input[position])
            assert values is not None
            walk.replace(node, position, values / scale)
        for consumer in consumers:
            walk.multiply_inputs(consumer, scale)
        changed += 1
    return (walk.finished() if changed else walk.model), changed


def _places(walk: Walk) -> list[onnx.NodeProto]:
    """LayerNormalizations over the last axis, all of whose readers are linear layers."""
    found = []
    for node in walk.nodes:
        if node.op_type != "LayerNormalization" or attributes(node).get("axis", -1) != -1:
            continue
        consumers = walk.consumers(node.output[0])
        own = [walk.constant(name) for name in node.input[1:]]
        linear = all(reader.op_type in ("MatMul", "Gemm") for reader in consumers)
        if consumers and linear and all(one is not None and one.ndim == 1 for one in own):
            found.append(node)
    return found


LAYER_NORM = Rewrite(name="layer-norm", tensors=_tensors, apply=_apply)
