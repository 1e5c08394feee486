"""Walks a graph: who makes a tensor, who reads it, and which weights may be scaled."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper

__all__ = ["Array", "Walk", "attributes"]

Array = npt.NDArray[np.float64]


class Walk:
    """One model's graph, and the changes that every rewrite makes of the same kind.

    The model given is changed; a weight that several nodes share is copied for the one it is
    changed for.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        self.model = model
        self._constants = {one.name: one for one in model.graph.initializer}
        self._producers = {name: node for node in model.graph.node for name in node.output}
        self._readers: dict[str, list[onnx.NodeProto]] = defaultdict(list)
        for node in model.graph.node:
            for name in node.input:
                self._readers[name].append(node)
        self._outputs = {info.name for info in model.graph.output}
        self._taken = {*self._constants, *self._producers, *(one.name for one in model.graph.node)}
        self._before: dict[str, list[onnx.NodeProto]] = defaultdict(list)

    @property
    def nodes(self) -> list[onnx.NodeProto]:
        """All nodes, in the order they run."""
        return list(self.model.graph.node)

    def producer(self, name: str) -> onnx.NodeProto | None:
        """The node that makes a tensor; None for inputs and constants."""
        return self._producers.get(name)

    def readers(self, name: str) -> list[onnx.NodeProto]:
        """The nodes that read a tensor, once for each time; none where the caller reads it too."""
        return [] if name in self._outputs else list(self._readers.get(name, ()))

    def constant(self, name: str) -> Array | None:
        """The values of a float constant, or None where it is none."""
        found = self._constants.get(name)
        if found is None or found.data_type != onnx.TensorProto.FLOAT:
            return None
        return numpy_helper.to_array(found).astype(np.float64)

    def layer(self, name: str) -> onnx.NodeProto | None:
        """The Conv or Gemm that makes a tensor and whose output channels may be scaled."""
        node = self.producer(name)
        if node is None or node.op_type not in ("Conv", "Gemm") or not self._is_weighted(node):
            return None
        bias = self.constant(node.input[2]) if _has(node, 2) else None
        channels = self.outputs(node)
        return node if not _has(node, 2) or (bias is not None and bias.size == channels) else None

    def consumers(self, name: str) -> list[onnx.NodeProto]:
        """The Conv, Gemm and MatMul that read a tensor; none where anything else reads it too."""
        found = self.readers(name)
        fit = all(name not in node.input[1:] and self._is_weighted(node) for node in found)
        return found if fit else []

    def _is_weighted(self, node: onnx.NodeProto) -> bool:
        if node.op_type not in ("Conv", "Gemm", "MatMul"):
            return False
        weight = self.constant(node.input[1])
        if weight is None or (node.op_type == "MatMul" and weight.ndim != 2):
            return False
        given = attributes(node)
        plain = given.get("alpha", 1.0) == given.get("beta", 1.0) == 1.0
        return node.op_type != "Gemm" or (plain and not given.get("transA", 0))

    def outputs(self, node: onnx.NodeProto) -> int:
        """Number of output channels of a Conv, Gemm or MatMul."""
        return int(self._weight(node).shape[_output_axis(node)])

    def blocks(self, node: onnx.NodeProto) -> Array:
        """The weight as [groups, outputs of a group, inputs of a group, kernel positions]."""
        weight = self._weight(node)
        groups = attributes(node).get("group", 1)
        rows = weight if _output_axis(node) == 0 else weight.T
        return rows.reshape(groups, rows.shape[0] // groups, rows.shape[1], -1)

    def bias(self, node: onnx.NodeProto) -> Array:
        """The bias [outputs] of a Conv or Gemm that `layer` gave; zeros where it has none."""
        bias = self.constant(node.input[2]) if _has(node, 2) else None
        return np.zeros(self.outputs(node)) if bias is None else bias.reshape(-1)

    def divide_outputs(self, node: onnx.NodeProto, scale: Array) -> None:
        """Divides what a Conv or Gemm gives by `scale` [outputs]: its weight and its bias."""
        weight = self._weight(node)
        shape = [1] * weight.ndim
        shape[_output_axis(node)] = -1
        self.replace(node, 1, weight / scale.reshape(shape))
        if _has(node, 2):
            bias = self.constant(node.input[2])
            assert bias is not None
            self.replace(node, 2, bias / scale.reshape(bias.shape))

    def multiply_inputs(self, node: onnx.NodeProto, scale: Array) -> None:
        """Multiplies the weight so that inputs divided by `scale` [inputs] give what they gave."""
        weight = self._weight(node)
        blocks = self.blocks(node)
        groups, _, inputs, _ = blocks.shape
        rows = (blocks * scale.reshape(groups, 1, inputs, 1)).reshape(
            weight.shape if _output_axis(node) == 0 else weight.T.shape
        )
        self.replace(node, 1, rows if _output_axis(node) == 0 else rows.T)

    def replace(self, node: onnx.NodeProto, position: int, values: Array) -> None:
        """Gives one input of `node` new values; other readers of the constant keep the old."""
        name = node.input[position]
        if len(self._readers[name]) > 1:
            self._readers[name].remove(node)
            name = self.add_constant(f"{name}_for_{node.output[0]}", values)
            self._readers[name].append(node)
            node.input[position] = name
        else:
            self._constants[name].CopyFrom(_tensor(values, name))

    def add_constant(self, wish: str, values: Array) -> str:
        """Adds a constant and returns its name."""
        name = self.fresh(wish)
        self.model.graph.initializer.append(_tensor(values, name))
        self._constants[name] = self.model.graph.initializer[-1]
        return name

    def insert_before(self, node: onnx.NodeProto, added: onnx.NodeProto) -> None:
        """Has `added` run just before `node` once the walk is finished."""
        self._before[node.output[0]].append(added)

    def fresh(self, wish: str) -> str:
        """Returns a name that no tensor and no node has: the one wished for, or close to it."""
        name, number = wish, 2
        while name in self._taken:
            name, number = f"{wish}_{number}", number + 1
        self._taken.add(name)
        return name

    def finished(self) -> onnx.ModelProto:
        """The changed model, checked, with the types of all its tensors."""
        nodes = [
            each for node in self.nodes for each in (*self._before.get(node.output[0], ()), node)
        ]
        if len(nodes) != len(self.model.graph.node):
            _refill(self.model.graph.node, nodes)
        typed = onnx.shape_inference.infer_shapes(self.model)
        onnx.checker.check_model(typed)
        return typed

    def _weight(self, node: onnx.NodeProto) -> Array:
        weight = self.constant(node.input[1])
        assert weight is not None
        return weight


def attributes(node: onnx.NodeProto) -> dict[str, Any]:
    """Returns the attributes that a node gives; those left out have the operator's default."""
    return {one.name: onnx.helper.get_attribute_value(one) for one in node.attribute}


def _output_axis(node: onnx.NodeProto) -> int:
    """Axis of the output channels in a weight; the other of the first two is the inputs'."""
    return 0 if node.op_type == "Conv" or attributes(node).get("transB", 0) else 1


def _has(node: onnx.NodeProto, position: int) -> bool:
    return len(node.input) > position and node.input[position] != ""


def _tensor(values: Array, name: str) -> onnx.TensorProto:
    return numpy_helper.from_array(np.ascontiguousarray(values, dtype=np.float32), name)


def _refill(field: Any, messages: Iterable[onnx.NodeProto]) -> None:
    kept = list(messages)
    del field[:]
    field.extend(kept)
