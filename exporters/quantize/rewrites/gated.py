"""Equalisation through a gated activation, with a gate that is told of it.

SiLU and Hardswish are y = x g(x), g a sigmoid or its three straight lines. They are not positively
homogeneous, x / s * g(x / s) being another curve; but with a gate that sees x as it was,

    x' = x / s,    y' = x' g(s x') = x g(x) / s = y / s,

for every s > 0 and every input. The producer's channel is divided by s, one Mul with a constant
for each channel goes before the gate, and the consumers' kernels are multiplied by s. What this
buys are full 8 bits for every channel of x and of y, where a wide one has left the others with a
few levels; as a rule of a depthwise kernel, which cannot average the error away.

Both x and y are quantized, so the scales keep both in their range (see `scales`). The Mul is work
that was not there, on every value of x. A place whose y also feeds a squeeze-and-excite branch is
passed over.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass

import onnx
from onnx import helper

from exporters.quantize.rewrites.channels import ChannelRange
from exporters.quantize.rewrites.interface import Rewrite
from exporters.quantize.rewrites.scales import channel_scales
from exporters.quantize.rewrites.walk import Array, Walk

__all__ = ["GATED"]

GATES = frozenset({"Sigmoid", "HardSigmoid"})
CHANNEL_AXIS = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    producer: onnx.NodeProto
    gate: onnx.NodeProto
    given: str
    """x."""
    gated: str
    """y = x g(x)."""
    consumers: list[onnx.NodeProto]


def _tensors(model: onnx.ModelProto) -> dict[str, int]:
    places = _places(Walk(model))
    return {name: CHANNEL_AXIS for one in places for name in (one.given, one.gated)}


def _apply(
    model: onnx.ModelProto, ranges: Mapping[str, ChannelRange]
) -> tuple[onnx.ModelProto, int]:
    walk = Walk(copy.deepcopy(model))
    changed = 0
    for place in _places(walk):
        seen = [ranges[place.given], ranges[place.gated]]
        scale = channel_scales(walk, seen, place.consumers)
        if (scale == 1).all():
            continue
        walk.divide_outputs(place.producer, scale)
        _tell_gate(walk, place, scale)
        for consumer in place.consumers:
            walk.multiply_inputs(consumer, scale)
        changed += 1
    return (walk.finished() if changed else walk.model), changed


def _tell_gate(walk: Walk, place: _Place, scale: Array) -> None:
    # Not "_scale": a quantizer gives that name to the scale of the tensor's integers.
    constant = walk.add_constant(f"{place.given}_factors", scale.reshape(1, -1, 1, 1))
    undone = walk.fresh(f"{place.given}_unscaled")
    name = walk.fresh(f"{place.given}_unscale")
    added = helper.make_node("Mul", [place.given, constant], [undone], name=name)
    walk.insert_before(place.gate, added)
    place.gate.input[0] = undone


def _places(walk: Walk) -> list[_Place]:
    found = []
    for gate in walk.nodes:
        if gate.op_type not in GATES:
            continue
        given, opened = gate.input[0], gate.output[0]
        producer, products = walk.layer(given), walk.readers(opened)
        if producer is None or producer.op_type != "Conv" or len(products) != 1:
            continue
        product = products[0]
        if product.op_type != "Mul" or sorted(product.input) != sorted((given, opened)):
            continue
        # The gate and the product, and nobody who would see x divided.
        if len(walk.readers(given)) != 2:
            continue
        consumers = walk.consumers(product.output[0])
        if consumers and all(reader.op_type == "Conv" for reader in consumers):
            found.append(
                _Place(
                    producer=producer,
                    gate=gate,
                    given=given,
                    gated=product.output[0],
                    consumers=consumers,
                )
            )
    return found


GATED = Rewrite(name="gated", tensors=_tensors, apply=_apply)
