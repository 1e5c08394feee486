"""An ONNX graph as a torch module, with any number of inputs and outputs."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

import onnx
import torch
from torch import nn

from cake_edge.errors import TeacherError
from cake_edge.onnx_network.execute import execute, results_of, steps_of
from cake_edge.onnx_network.known import Known, known_form
from cake_edge.onnx_network.node import Node, Value
from cake_edge.onnx_network.parse import parse
from cake_edge.onnx_network.refusals import DataDependent

__all__ = ["OnnxGraph"]

MOST_DUAL = 16
"""Longest float constant that is kept as Python numbers too: scales of a Resize."""
GROWTH = 4
"""How many times what a file stores may be computed from it alone: weights are transposed."""
ROOM = 2**24
"""Values that may be computed in any case."""
STATISTICS = {"BatchNormalization": (3, 4)}
"""Inputs of weighted operators that were counted, not learnt."""
WEIGHTED = frozenset(
    {
        "Attention",
        "BatchNormalization",
        "BiasGelu",
        "Conv",
        "ConvTranspose",
        "Einsum",
        "FastGelu",
        "FusedConv",
        "FusedGemm",
        "FusedMatMul",
        "Gemm",
        "GroupNormalization",
        "InstanceNormalization",
        "LayerNormalization",
        "MatMul",
        "PRelu",
        "RMSNormalization",
        "SimplifiedLayerNormalization",
        "SkipLayerNormalization",
        "SkipSimplifiedLayerNormalization",
    }
)
"""Operators whose constants are weights."""
ADDED = frozenset({"Add", "Mul"})
"""Operators whose constant vectors are weights: biases and scales that stand alone."""


class OnnxGraph(nn.Module):
    """Computes an ONNX graph with torch operators, differentiably.

    Float constants that a weighted operator reads are parameters that ask for no gradient, all
    others buffers. Everything is computed in the module's own float type, float32 unless it is
    moved, whatever the file stores. Nothing in it is code from the file: it copies, pickles, moves
    and exports as any module does.
    """

    def __init__(self, model: onnx.ModelProto, outputs: Sequence[str] | None = None) -> None:
        """Reads a checked model; operators on constants alone are computed now.

        Raises:
            UnsupportedOnnx: the model is quantized, or uses what is not known here.
            TeacherError: it cannot be computed.
        """
        super().__init__()
        parsed = parse(model, outputs)
        self.inputs = parsed.inputs
        self.outputs = parsed.outputs
        self.operators: Counter[str] = Counter(node.op_type for node in parsed.nodes)
        # In a module of their own: among names that an exporter makes up, such as val_3, those of
        # a file that another run of it wrote would be taken twice.
        self.constants = nn.Module()
        self._attributes: dict[str, str] = {}
        self._numbers: dict[str, Known] = {}
        self._duals: dict[str, Known] = {}
        self.register_buffer("like", torch.empty(0), persistent=False)
        self.like: torch.Tensor
        nodes, constants = _folded(parsed.nodes, parsed.constants)
        self._steps = steps_of(nodes, parsed.outputs)
        self._store(nodes, constants)
        self.eval()

    @property
    def batch_norm_count(self) -> int:
        """BatchNormalization operators left in the graph; 0 where an exporter folded them."""
        return self.operators["BatchNormalization"]

    def run(self, inputs: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Returns the outputs by name.

        Args:
            inputs: a tensor for each of `self.inputs`.

        Raises:
            TeacherError: an input is missing, or does not fit the graph.
        """
        missing = [name for name in self.inputs if name not in inputs]
        if missing:
            raise TeacherError(f"the ONNX graph takes {self.inputs}; {missing[0]!r} is missing")
        values = self._constants()
        for name in self.inputs:
            given = inputs[name]
            values[name] = given.to(self.like.dtype) if given.is_floating_point() else given
        execute(self._steps, values, self._duals, self.like)
        return {name: _as_tensor(values[name], self.like) for name in self.outputs}

    def foretell(
        self,
        inputs: Mapping[str, torch.Tensor],
        after: Callable[[Node, Sequence[Value]], None],
    ) -> None:
        """Goes through the graph with shapes alone, as far as no shape depends on values.

        Args:
            inputs: tensors without values, on the device "meta".
            after: is called with each node and its results, to count or to refuse them.

        Raises:
            TeacherError: an operator cannot be computed.
        """
        like = torch.empty(0, device="meta", dtype=self.like.dtype)
        values: dict[str, Value] = {
            name: value.to("meta") if isinstance(value, torch.Tensor) else value
            for name, value in self._constants().items()
        }
        try:
            execute(self._steps, values | dict(inputs), self._duals, like, after=after)
        except DataDependent:
            return

    def _constants(self) -> dict[str, Value]:
        values: dict[str, Value] = {
            name: getattr(self.constants, attribute) for name, attribute in self._attributes.items()
        }
        values.update(self._numbers)
        return values

    def _store(self, nodes: Sequence[Node], constants: Mapping[str, Value]) -> None:
        """Keeps the constants that are read."""
        weights = _weights(nodes, constants)
        self._duals = _duals(constants)
        read = {name for node in nodes for name in node.inputs} | set(self.outputs)
        for name, value in constants.items():
            if name not in read:
                continue
            if isinstance(value, Known):
                self._numbers[name] = value
                continue
            attribute = self._free_name(name)
            self._attributes[name] = attribute
            if name in weights:
                self.constants.register_parameter(
                    attribute, nn.Parameter(value, requires_grad=False)
                )
            else:
                self.constants.register_buffer(attribute, value)

    def _free_name(self, name: str) -> str:
        stem = re.sub(r"\W", "_", name, flags=re.ASCII).strip("_") or "constant"
        stem = f"constant_{stem}" if stem[0].isdigit() else stem
        free, number = stem, 1
        while hasattr(self.constants, free):
            number += 1
            free = f"{stem}_{number}"
        return free


def _as_tensor(value: Value, like: torch.Tensor) -> torch.Tensor:
    return value.tensor(like) if isinstance(value, Known) else value


def _constant_value(value: Value, like: torch.Tensor) -> Value:
    """Short lists of whole numbers are held by Python, everything else is a tensor."""
    if isinstance(value, torch.Tensor) and not value.is_floating_point():
        return known_form(value) or value
    if isinstance(value, Known) and value.dtype.is_floating_point:
        return value.tensor(like)
    return value


def _duals(constants: Mapping[str, Value]) -> dict[str, Known]:
    """The short ones among constant tensors as Python numbers too: an operator may ask for them."""
    short = {
        name: known_form(value)
        for name, value in constants.items()
        if isinstance(value, torch.Tensor) and value.numel() <= MOST_DUAL
    }
    return {name: form for name, form in short.items() if form is not None}


def _folded(
    nodes: Sequence[Node], stored: Mapping[str, torch.Tensor]
) -> tuple[list[Node], dict[str, Value]]:
    """Computes every node whose inputs are all constant.

    Returns:
        The nodes that are left, and all constants.

    Raises:
        TeacherError: they come to far more than the file holds.
    """
    like = torch.empty(0)
    budget = ROOM + GROWTH * sum(value.numel() for value in stored.values())
    constants = {name: _constant_value(value, like) for name, value in stored.items()}
    left = []
    for node in nodes:
        if not all(name in constants for name in node.inputs if name):
            left.append(node)
            continue
        given = {name: constants[name] for name in node.inputs if name}
        budget -= _foretold(node, given)
        if budget < 0:
            raise TeacherError(
                f"the constants that the ONNX model computes come to more than {GROWTH} times "
                f"what it stores, with {node}; that is no classifier of images"
            )
        with torch.no_grad():
            results = results_of(node, given, _duals(given), like)
        # Views would keep what they were cut from, and expanded ones cannot be written to.
        fresh = [r.clone() if isinstance(r, torch.Tensor) else r for r in results]
        constants |= {
            name: _constant_value(value, like)
            for name, value in zip(node.outputs, fresh, strict=False)
            if name
        }
    return left, constants


def _foretold(node: Node, given: Mapping[str, Value]) -> int:
    """How many values a node will give, found out without computing one."""
    shapes = {n: v.to("meta") if isinstance(v, torch.Tensor) else v for n, v in given.items()}
    try:
        results = results_of(node, shapes, _duals(given), torch.empty(0, device="meta"))
    except DataDependent:
        return 0
    return sum(value.numel() for value in results if isinstance(value, torch.Tensor))


def _weights(nodes: Sequence[Node], constants: Mapping[str, Value]) -> set[str]:
    """Names of the constants that are weights."""
    found = set()
    for node in nodes:
        for i, name in enumerate(node.inputs):
            if i in STATISTICS.get(node.op_type, ()):
                continue
            value = constants.get(name)
            if isinstance(value, torch.Tensor) and value.is_floating_point():
                vector = value.dim() == 1 and value.numel() > 1
                if node.op_type in WEIGHTED or (node.op_type in ADDED and vector):
                    found.add(name)
    return found
