"""The layers of a model whose weights can be rounded, and their weights as matrices."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from cake_edge.errors import UsageMistake, near_names
from exporters.quantize.reconstruct.grams import Patches

__all__ = ["Layer", "find_layers"]

Array = npt.NDArray[np.float64]
OPERATORS = ("Conv", "Gemm", "MatMul")


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """A node that computes W x + b, with W of shape [groups, outputs of a group, inputs of it]."""

    name: str
    """Of the node."""
    op: str
    """Its operator."""
    weight: str
    """Its constant weight."""
    bias: str | None
    """A constant that is added to its output and used nowhere else, [outputs]."""
    patches: Patches
    """What x is."""
    transposed: bool
    """Whether the weight is stored as [inputs, outputs]."""
    obstacle: str | None
    """Why it cannot be reconstructed."""
    shared: bool
    """Whether something else uses the weight, which then has no rounding of its own."""

    def matrix(self, weight: npt.NDArray[np.float32]) -> Array:
        """The weight as [groups, outputs of a group, inputs of a group]."""
        rows = weight.T if self.transposed else weight
        groups = self.patches.groups
        return rows.astype(np.float64).reshape(groups, len(rows) // groups, -1)

    def stored(self, matrix: Array, shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
        """The opposite of `matrix`."""
        rows = matrix.astype(np.float32).reshape(-1, matrix.shape[2])
        return np.ascontiguousarray(rows.T if self.transposed else rows).reshape(shape)


def find_layers(model: onnx.ModelProto, nodes: Iterable[str] | None) -> list[Layer]:
    """Returns the layers with constant weights, in the order of the graph.

    Args:
        nodes: names of the nodes wanted; None for all there are.

    Raises:
        UsageMistake: `nodes` names something else.
    """
    constants = {
        weight.name: tuple(weight.dims)
        for weight in model.graph.initializer
        if weight.data_type == onnx.TensorProto.FLOAT
    }
    uses = Counter(name for node in model.graph.node for name in node.input)
    uses.update(output.name for output in model.graph.output)
    consumers = {name: node for node in model.graph.node for name in node.input}
    layers = []
    for node in model.graph.node:
        if node.op_type in OPERATORS and _has_constant_weight(node, constants):
            bias = _bias(node, constants, uses, consumers)
            layers.append(_layer(node, constants[node.input[1]], bias, uses[node.input[1]]))
    if nodes is None:
        return layers
    known = {layer.name for layer in layers}
    for name in (wanted := list(nodes)):
        if name not in known:
            raise UsageMistake(
                f"{name!r} is no Conv, Gemm or MatMul with a constant weight in this model"
                f"{near_names(name, known)}"
            )
    return [layer for layer in layers if layer.name in wanted]


def _has_constant_weight(node: onnx.NodeProto, constants: Mapping[str, tuple[int, ...]]) -> bool:
    data, weight = node.input[:2]
    shape = constants.get(weight, ())
    return data not in constants and (
        len(shape) >= 3 if node.op_type == "Conv" else len(shape) == 2
    )


def _layer(node: onnx.NodeProto, shape: tuple[int, ...], bias: str | None, uses: int) -> Layer:
    given = {item.name: onnx.helper.get_attribute_value(item) for item in node.attribute}
    if node.op_type == "Conv":
        patches, odd = _convolution(node.input[0], shape, given)
    else:
        patches = Patches(source=node.input[0])
        odd = _odd_gemm(given) if node.op_type == "Gemm" else None
    return Layer(
        name=node.name,
        op=node.op_type,
        weight=node.input[1],
        bias=bias,
        patches=patches,
        transposed=node.op_type == "MatMul" or (node.op_type == "Gemm" and not given.get("transB")),
        obstacle=f"its weight is used {uses} times; left as it is" if uses > 1 else odd,
        shared=uses > 1,
    )


def _convolution(
    source: str, shape: tuple[int, ...], given: Mapping[str, Any]
) -> tuple[Patches, str | None]:
    if len(shape) != 4:
        axes = f"it convolves over {len(shape) - 2} axes, not 2; rounded to nearest"
        return Patches(source=source, groups=given.get("group", 1)), axes
    padding: str = given.get("auto_pad", b"NOTSET").decode()
    odd = None if padding == "NOTSET" else f"auto_pad is {padding}; rounded to nearest"
    top, left, bottom, right = given.get("pads", (0, 0, 0, 0))
    return Patches(
        source=source,
        groups=given.get("group", 1),
        kernel=(shape[2], shape[3]),
        strides=tuple(given.get("strides", (1, 1))),
        dilations=tuple(given.get("dilations", (1, 1))),
        pads=(top, left, bottom, right),
    ), odd


def _odd_gemm(given: Mapping[str, Any]) -> str | None:
    plain = given.get("alpha", 1.0) == given.get("beta", 1.0) == 1.0 and not given.get("transA")
    return None if plain else "it scales or transposes its inputs; rounded to nearest"


def _bias(
    node: onnx.NodeProto,
    constants: Mapping[str, tuple[int, ...]],
    uses: Mapping[str, int],
    consumers: Mapping[str, onnx.NodeProto],
) -> str | None:
    """The constant a node adds itself, or the Add that alone takes what a MatMul gives."""
    candidates: list[str] = list(node.input[2:])
    after = consumers.get(node.output[0])
    if node.op_type == "MatMul" and after is not None and uses[node.output[0]] == 1:
        candidates = list(after.input) if after.op_type == "Add" else []
    for name in candidates:
        if len(constants.get(name, ())) == 1 and uses[name] == 1:
            return name
    return None
