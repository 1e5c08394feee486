"""Cross-layer equalisation, after Nagel et al., ICCV 2019, section 4.1.

A layer's channel c is divided by s_c > 0 and the next layer's weights for c are multiplied by it:

    W2 f(W1 x + b1) = W2 S f(S^-1 (W1 x + b1)),   f(z / s) = f(z) / s.

The right-hand condition, positive homogeneity, holds of nothing at all and of ReLU, so there the
rewrite is exact for every input. Nagel et al. choose S to make the two weights' ranges equal, for
weights with one scale a tensor. Here each output channel of a weight has its own, which W1 / s
takes up without loss, and what is left to mend is the tensor between them; `scales` says how.

ReLU6. s f(z / s) = min(max(z, 0), 6 s): the cap of the channel moves from 6 to 6 s, which changes
nothing where z <= 6 min(1, s). The largest z observed is no help: the network's own images reach
much further than synthetic ones, and a cap that comes down on them changes what it computes. What
bounds z for all images is known where the layer itself reads a ReLU6, from 0 to 6:

    z_c  <=  b_c + 6 sum_i max(w_ci, 0).

A channel so bounded below the cap is divided by s_c >= bound_c / 6, and one that is not keeps
s_c = 1. So this rewrite, too, is exact for every input; of a network of ReLU6 it touches little.

Padding with zeros commutes with the scaling, and a group's kernels are scaled by the channels the
group reads.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import onnx

from exporters.quantize.rewrites.channels import ChannelRange
from exporters.quantize.rewrites.interface import Rewrite
from exporters.quantize.rewrites.scales import channel_scales
from exporters.quantize.rewrites.walk import Array, Walk

__all__ = ["CROSS_LAYER"]

CHANNEL_AXIS = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    producer: onnx.NodeProto
    name: str
    """What the consumers read: the producer's output, or the activation's."""
    cap: float
    """Where the activation ends; infinite for none and ReLU."""
    consumers: list[onnx.NodeProto]


def _tensors(model: onnx.ModelProto) -> dict[str, int]:
    return {place.name: CHANNEL_AXIS for place in _places(Walk(model))}


def _apply(
    model: onnx.ModelProto, ranges: Mapping[str, ChannelRange]
) -> tuple[onnx.ModelProto, int]:
    walk = Walk(copy.deepcopy(model))
    changed = 0
    places = _places(walk)
    # Before anything is scaled: the bounds are those of the model as it came.
    bounds = [_highest(walk, place.producer) for place in places]
    for place, highest in zip(places, bounds, strict=True):
        scale = channel_scales(walk, [ranges[place.name]], place.consumers)
        if np.isfinite(place.cap):
            scale = np.where(highest <= place.cap, np.maximum(scale, highest / place.cap), 1.0)
        if (scale == 1).all():
            continue
        walk.divide_outputs(place.producer, scale)
        for consumer in place.consumers:
            walk.multiply_inputs(consumer, scale)
        changed += 1
    return (walk.finished() if changed else walk.model), changed


def _highest(walk: Walk, node: onnx.NodeProto) -> Array:
    """What each output channel never exceeds, [outputs]; infinite where nothing is known."""
    before = walk.producer(node.input[0])
    cap = _cap(walk, before) if before is not None else None
    if cap is None or not np.isfinite(cap):
        return np.full(walk.outputs(node), np.inf)
    weight = walk.blocks(node)
    highest: Array = cap * np.maximum(weight, 0).sum(axis=(2, 3)).reshape(-1) + walk.bias(node)
    return highest


def _places(walk: Walk) -> list[_Place]:
    found = []
    for node in walk.nodes:
        producer = walk.layer(node.output[0])
        if producer is None:
            continue
        name, cap = node.output[0], np.inf
        readers = walk.readers(name)
        if len(readers) == 1 and (height := _cap(walk, readers[0])) is not None:
            name, cap = readers[0].output[0], height
        consumers = walk.consumers(name)
        # A MatMul's channels lie on the last axis, which is the second for a Gemm's output only.
        if consumers and all(reader.op_type == node.op_type for reader in consumers):
            found.append(_Place(producer=node, name=name, cap=cap, consumers=consumers))
    return found


def _cap(walk: Walk, node: onnx.NodeProto) -> float | None:
    """Where a ReLU ends, or None for another operator."""
    if node.op_type == "Relu":
        return np.inf
    if node.op_type != "Clip" or len(node.input) < 2:
        return None
    bounds = [walk.constant(name) for name in node.input[1:]]
    if bounds[0] is None or float(bounds[0]) != 0:
        return None
    if len(node.input) == 2 or not node.input[2]:
        return np.inf
    return None if bounds[1] is None or float(bounds[1]) <= 0 else float(bounds[1])


CROSS_LAYER = Rewrite(name="cross-layer", tensors=_tensors, apply=_apply)
