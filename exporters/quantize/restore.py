"""Gives nodes back the weights and biases they had before anything was done for their rounding."""

from __future__ import annotations

import copy
from collections.abc import Collection

import onnx

__all__ = ["restored"]


def restored(
    model: onnx.ModelProto, plain: onnx.ModelProto, nodes: Collection[str]
) -> onnx.ModelProto:
    """Returns `model` with the constants that the named nodes read in `plain`.

    A node that is not quantized has no use for a bias that makes up for its rounded weights, nor
    for weights that were rounded already. Where a sum follows a product, the sum's constant is the
    bias.

    Args:
        plain: the same graph, other constants.
    """
    if not nodes:
        return model
    changed = copy.deepcopy(model)
    before = {weight.name: weight for weight in plain.graph.initializer}
    wanted = _constants_of(changed, nodes)
    for weight in changed.graph.initializer:
        if weight.name in wanted and weight.name in before:
            weight.CopyFrom(before[weight.name])
    return changed


def _constants_of(model: onnx.ModelProto, nodes: Collection[str]) -> set[str]:
    """Names of what the nodes read, and of what is added to their products."""
    chosen = [node for node in model.graph.node if node.name in nodes]
    products = {node.output[0] for node in chosen if node.op_type == "MatMul"}
    sums = [
        node
        for node in model.graph.node
        if node.op_type == "Add" and not products.isdisjoint(node.input)
    ]
    return {name for node in [*chosen, *sums] for name in node.input}
