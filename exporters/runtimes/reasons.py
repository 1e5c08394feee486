"""Why operators with weights run in float: read off the file that asked for integers.

A runtime renames what it fuses and moves; each name is led back to the node it stands for.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx

__all__ = [
    "FOR_ACCURACY",
    "FOUR_BITS",
    "NOT_FUSED",
    "NOT_WRITTEN",
    "OUTPUT",
    "PRODUCT",
    "WEIGHTS_ALONE",
    "Written",
]

FOR_ACCURACY = "left in float for accuracy"
PRODUCT = "a product of two activations"
WEIGHTS_ALONE = "only its weights are quantized"
FOUR_BITS = "its weights have 4 bits, and are widened"
NOT_WRITTEN = "the file does not quantize it"
OUTPUT = "its output is not quantized"
NOT_FUSED = "the runtime has no integer form for it here"

INT4 = (21, 22)
"""UINT4 and INT4 in `onnx.TensorProto.DataType`."""
RENAMED = re.compile(r"(_nchwc|_token_\d+|/\w+Fusion/?)+$")
"""What ONNX Runtime adds to the name of a node, or of the tensor that a node writes."""


class Written:
    """The nodes of a file, by the names that a runtime gives them."""

    def __init__(self, model: onnx.ModelProto, weighted: Collection[str]) -> None:
        """Indexes `model`; `weighted` names the operators that have weights."""
        graph = model.graph
        self._weighted = weighted
        self._constants = {weight.name: weight.data_type for weight in graph.initializer}
        self._nodes = {node.name: node for node in graph.node if node.op_type in weighted}
        self._producers = {name: node for node in graph.node for name in node.output}
        self._readers: dict[str, list[str]] = {}
        for node in graph.node:
            for name in node.input:
                self._readers.setdefault(name, []).append(node.op_type)
        self._outputs = {port.name for port in graph.output}

    def name(self, given: str) -> str:
        """The name in the file of an operator that ran as `given`; else `given` itself."""
        bare = RENAMED.sub("", given)
        for name in (given, bare):
            if name in self._nodes:
                return name
        node = self._producers.get(bare)
        # A fused operator is named after what its activation writes.
        while node is not None and node.op_type not in self._weighted:
            node = self._producers.get(node.input[0]) if len(node.input) == 1 else None
        return node.name if node is not None else given

    def reasons(self, names: Iterable[str], left_float: Collection[str] = ()) -> dict[str, str]:
        """Returns by name why each of these nodes runs in float.

        Args:
            names: as `name` gives them; one that is not in the file gets no reason.
            left_float: nodes that the quantizer kept in float to hold its budget.
        """
        return {
            name: FOR_ACCURACY if name in left_float else self._reason(self._nodes[name])
            for name in names
            if name in self._nodes
        }

    def _reason(self, node: onnx.NodeProto) -> str:
        data, weights = (self._quantized(name) for name in node.input[:2])
        kind = self._constant(node.input[1])
        if not weights or not data:
            if kind is None:
                return PRODUCT
            return WEIGHTS_ALONE if weights else NOT_WRITTEN
        if kind in INT4:
            return FOUR_BITS
        read_by = [kind for name in node.output for kind in self._readers.get(name, [])]
        if not self._outputs.isdisjoint(node.output) or set(read_by) - {"QuantizeLinear"}:
            return OUTPUT
        return NOT_FUSED

    def _quantized(self, name: str) -> bool:
        node = self._producers.get(name)
        return node is not None and node.op_type == "DequantizeLinear"

    def _constant(self, name: str) -> int | None:
        """The type of the constant behind a name, where there is one."""
        node = self._producers.get(name)
        if node is not None and node.op_type == "DequantizeLinear":
            return self._constant(node.input[0])
        return self._constants.get(name)
