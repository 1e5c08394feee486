"""An ONNX graph as rules ask about it: who makes a tensor, who reads it, what is quantized how."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, numpy_helper

from exporters.operators import is_integer_operator

__all__ = ["STANDARD", "WEIGHTED", "Graph", "attribute", "label"]

WEIGHTED = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
"""Operators that multiply by weights: where quantization pays."""
STANDARD = ("", "ai.onnx")

Array = npt.NDArray[Any]


def label(node: onnx.NodeProto) -> str:
    """Returns the node's name, or where it has none its operator and first output."""
    return node.name or f"{node.op_type} -> {next(iter(node.output), '?')}"


def attribute(node: onnx.NodeProto, name: str, default: Any) -> Any:
    """Returns an attribute's value, or `default` where the node does not state it."""
    for item in node.attribute:
        if item.name == name:
            return onnx.helper.get_attribute_value(item)
    return default


class Graph:
    """The main graph of a model; graphs inside nodes are searched by `every_node` alone."""

    def __init__(self, model: onnx.ModelProto, target: str) -> None:
        self.model = model
        self.target = target
        self.nodes = list(model.graph.node)
        self.constants = {tensor.name: tensor for tensor in model.graph.initializer}
        for node in self.nodes:
            value = attribute(node, "value", None) if node.op_type == "Constant" else None
            if isinstance(value, TensorProto):
                self.constants[node.output[0]] = value
        self.producers = {name: node for node in self.nodes for name in node.output if name}
        self.readers: dict[str, list[onnx.NodeProto]] = defaultdict(list)
        for node in self.nodes:
            for name in node.input:
                self.readers[name].append(node)
        self.outputs = {port.name for port in model.graph.output}
        self.inputs = [port for port in model.graph.input if port.name not in self.constants]
        self._types = _types(model)

    def every_node(self) -> Iterator[onnx.NodeProto]:
        """Every node, those of graphs inside nodes and of local functions too."""
        yield from _nodes_within(self.nodes)
        for function in self.model.functions:
            yield from _nodes_within(function.node)

    def named(self, *operators: str) -> Iterator[onnx.NodeProto]:
        """The nodes of these operators, as ONNX or ONNX Runtime defines them."""
        return (
            node
            for node in self.nodes
            if node.op_type in operators and node.domain in (*STANDARD, "com.microsoft")
        )

    def producer(self, node: onnx.NodeProto, index: int) -> onnx.NodeProto | None:
        """What makes a node's input; None for a constant, an input of the model, or none."""
        return self.producers.get(node.input[index]) if index < len(node.input) else None

    def only_reader(self, node: onnx.NodeProto) -> onnx.NodeProto | None:
        """What alone reads a node's first output; None where that is shared, or an output."""
        found = self.readers[node.output[0]]
        return found[0] if len(found) == 1 and node.output[0] not in self.outputs else None

    def type_of(self, name: str) -> int:
        """A tensor's element type; 0 where it is not known."""
        if name in self.constants:
            return int(self.constants[name].data_type)
        return self._types.get(name, 0)

    def values(self, name: str) -> Array | None:
        """A constant's values; None where it is none, or they are not all there."""
        tensor = self.constants.get(name)
        if tensor is None or tensor.data_location == TensorProto.EXTERNAL:
            return None
        try:
            return numpy_helper.to_array(tensor)
        except ValueError:
            return None

    # Quantization ------------------------------------------------------------------------

    def quantizers(self) -> Iterator[onnx.NodeProto]:
        """Every QuantizeLinear and DequantizeLinear."""
        return self.named("QuantizeLinear", "DequantizeLinear")

    def integer_type(self, node: onnx.NodeProto) -> int:
        """The integer type on the quantized side of a Q or DQ.

        A zero point has that type; without one QuantizeLinear gives uint8 unless it is told
        otherwise, and DequantizeLinear takes what it is given.
        """
        if len(node.input) > 2 and node.input[2]:
            return self.type_of(node.input[2])
        if node.op_type == "DequantizeLinear":
            stored = self.type_of(node.input[0])
            above = self.producers.get(node.input[0])
            if stored or above is None or above.op_type != "QuantizeLinear":
                return stored
            return self.integer_type(above)
        return int(attribute(node, "output_dtype", 0)) or TensorProto.UINT8

    def scale(self, node: onnx.NodeProto) -> Array | None:
        """The scales of a Q or DQ; None where they are not constant."""
        return self.values(node.input[1])

    def zero_point(self, node: onnx.NodeProto) -> Array | None:
        """The zero points of a Q or DQ; None where they are not constant."""
        if len(node.input) > 2 and node.input[2]:
            return self.values(node.input[2])
        return np.zeros((), np.int8)

    def on_constant(self, node: onnx.NodeProto) -> bool:
        """Whether a Q or DQ stands on a constant: a weight or a bias, stored in any form."""
        name = node.input[0]
        if name in self.constants:
            return True
        above = self.producers.get(name)
        return above is not None and above.op_type == "QuantizeLinear" and self.on_constant(above)

    def on_activations(self) -> list[onnx.NodeProto]:
        """Every Q and DQ that does not stand on a constant."""
        return [node for node in self.quantizers() if not self.on_constant(node)]

    def dequantized(self, node: onnx.NodeProto, index: int) -> onnx.NodeProto | None:
        """The DequantizeLinear that makes a node's input, or None."""
        above = self.producer(node, index)
        return above if above is not None and above.op_type == "DequantizeLinear" else None

    def weighted(self) -> list[onnx.NodeProto]:
        """The nodes that multiply by a constant weight, in float or dequantized."""
        return [node for node in self.named(*WEIGHTED) if self._has_constant_weight(node)]

    def _has_constant_weight(self, node: onnx.NodeProto) -> bool:
        if node.domain not in STANDARD or len(node.input) < 2:
            return False
        if node.input[1] in self.constants:
            return True
        above = self.dequantized(node, 1)
        return above is not None and self.on_constant(above)

    def is_quantized(self) -> bool:
        """Whether anything in the model is an integer approximation of float."""
        return any(
            node.op_type in ("QuantizeLinear", "DequantizeLinear", "MatMulNBits")
            or is_integer_operator(node.op_type)
            for node in self.every_node()
        )


def _types(model: onnx.ModelProto) -> dict[str, int]:
    try:
        known = onnx.shape_inference.infer_shapes(model)
    except Exception:  # noqa: BLE001 - inference is a help; a model it cannot follow is linted too
        known = model
    infos = [*known.graph.value_info, *known.graph.input, *known.graph.output]
    return {info.name: info.type.tensor_type.elem_type for info in infos}


def _nodes_within(nodes: Any) -> Iterator[onnx.NodeProto]:
    for node in nodes:
        yield node
        for item in node.attribute:
            inner = [item.g] if item.HasField("g") else []
            for graph in [*inner, *item.graphs]:
                yield from _nodes_within(graph.node)
