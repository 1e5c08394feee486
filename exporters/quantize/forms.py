"""Forms of a float graph that ONNX Runtime computes faster in integers; each computes the same.

Products with a bias: a MatMul whose output goes into QuantizeLinear becomes one integer operator,
but the Add behind it takes floats, so its output is rounded, widened again and added to. A Gemm
becomes one operator that adds the bias in int32 and gives floats. So x W + b is made Reshape, Gemm,
Reshape, of which only Gemm costs time. On a ViT-S whose attention is float this gains a tenth of
the time, and 2 dB of the logits' signal-to-noise ratio.

The stem: the kernels for x86 read input channels in fours; three leave a convolution to a slower
path by way of a copy of every window. A fourth channel of zeros, and weights of zero for it, add
nothing to any sum. On MobileNetV2 this gains 7 % of the whole network's time, with the same logits.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from exporters.quantize.dialect import Dialect
from exporters.quantize.graph import drop_unused

__all__ = ["in_form_of", "products_as_gemm", "stem_of_four"]

LANES = 4
FEWEST_PIXELS = 64 * 64
"""Of an image; below, the copy of the image costs what the stem gains."""


def in_form_of(model: onnx.ModelProto, dialect: Dialect) -> onnx.ModelProto:
    """Returns a prepared model in the form that a dialect's runtime is fastest with."""
    if dialect.runtime != "ort":
        return model
    formed = products_as_gemm(model)
    return stem_of_four(formed) if dialect.processor == "x86" else formed


def stem_of_four(model: onnx.ModelProto) -> onnx.ModelProto:
    """Returns the model with a fourth channel of zeros wherever a convolution reads the image."""
    image = model.graph.input[0]
    dims = [size.dim_value for size in image.type.tensor_type.shape.dim]
    weights = {tensor.name for tensor in model.graph.initializer}
    stems = [
        place
        for place, node in enumerate(model.graph.node)
        if node.op_type == "Conv"
        and node.input[0] == image.name
        and node.input[1] in weights
        and _groups(node) == 1
    ]
    if dims[1] != LANES - 1 or dims[2] * dims[3] < FEWEST_PIXELS or not stems:
        return model
    formed = copy.deepcopy(model)
    graph = formed.graph
    constants = {tensor.name: tensor for tensor in graph.initializer}
    for place in stems:
        node = graph.node[place]
        weight = numpy_helper.to_array(constants[node.input[1]])
        wider = np.pad(weight, [(0, 0), (0, 1), (0, 0), (0, 0)])
        node.input[0], node.input[1] = f"{image.name}_of_four", f"{node.input[1]}_of_four"
        graph.initializer.append(numpy_helper.from_array(wider, node.input[1]))
    pads, name = f"{image.name}_pads", f"{image.name}_of_four"
    one_more = np.array([0, 0, 0, 0, 0, 1, 0, 0], np.int64)
    graph.initializer.append(numpy_helper.from_array(one_more, pads))
    graph.node.insert(0, helper.make_node("Pad", [image.name, pads], [name], f"{name}_node"))
    shape = [None, LANES, *dims[2:]]
    graph.value_info.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))
    drop_unused(graph)
    return formed


def _groups(node: onnx.NodeProto) -> int:
    return next((int(item.i) for item in node.attribute if item.name == "group"), 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Product:
    """A MatMul with a constant matrix, and the bias added to it."""

    node: onnx.NodeProto
    add: onnx.NodeProto | None
    bias: str | None
    inner: tuple[int, ...]
    """Sizes between the batch and the features."""

    @property
    def output(self) -> str:
        """What it gives in the end."""
        name: str = (self.add or self.node).output[0]
        return name


def products_as_gemm(model: onnx.ModelProto) -> onnx.ModelProto:
    """Returns the model with a Gemm for each product of a tensor [N, …, K] and a matrix [K, M]."""
    found = {product.node.name: product for product in _products(model.graph)}
    if not found:
        return model
    formed = copy.deepcopy(model)
    graph = formed.graph
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    added = {one.add.name for one in found.values() if one.add is not None}
    nodes: list[onnx.NodeProto] = []
    flattened: set[str] = set()
    for node in model.graph.node:
        product = found.get(node.name)
        if product is not None:
            nodes += _gemm(graph, product, constants[node.input[1]], flattened)
        elif node.name not in added:
            nodes.append(node)
    del graph.node[:]
    graph.node.extend(nodes)
    drop_unused(graph)
    return formed


def _products(graph: onnx.GraphProto) -> Iterator[_Product]:
    constants = {tensor.name: tensor.dims for tensor in graph.initializer}
    shapes = {
        info.name: [size.dim_value for size in info.type.tensor_type.shape.dim]
        for info in graph.value_info
    }
    outputs = {port.name for port in graph.output}
    readers: dict[str, list[onnx.NodeProto]] = {}
    for node in graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    for node in graph.node:
        if node.op_type != "MatMul" or len(constants.get(node.input[1], ())) != 2:
            continue
        shape = shapes.get(node.input[0], [])
        if len(shape) < 3 or not all(shape[1:]):
            continue
        behind = readers.get(node.output[0], [])
        add = behind[0] if len(behind) == 1 and node.output[0] not in outputs else None
        bias = _bias(add, node, constants) if add is not None else None
        yield _Product(
            node=node, add=add if bias else None, bias=bias, inner=tuple(shape[1:-1])
        )  # fmt: skip


def _bias(add: onnx.NodeProto, node: onnx.NodeProto, constants: dict[str, list[int]]) -> str | None:
    """The constant, one value a feature, that `add` adds to what a MatMul gives."""
    if add.op_type != "Add":
        return None
    width = constants[node.input[1]][1]
    others = [name for name in add.input if name != node.output[0]]
    fits = len(others) == 1 and list(constants.get(others[0], ())) == [width]
    return others[0] if fits else None


def _gemm(
    graph: onnx.GraphProto, product: _Product, weight: np.ndarray, flattened: set[str]
) -> Iterator[onnx.NodeProto]:
    """The nodes that stand for a product; what they need is added to `graph`."""
    name, reads = product.node.name, product.node.input[0]
    rows, flat = f"{reads}_rows", f"{product.output}_rows"
    depth, width = weight.shape

    def constant(what: str, values: np.ndarray) -> str:
        graph.initializer.append(numpy_helper.from_array(values, f"{name}_{what}"))
        return f"{name}_{what}"

    def known(tensor: str, features: int) -> None:
        info = helper.make_tensor_value_info(tensor, TensorProto.FLOAT, [None, features])
        graph.value_info.append(info)

    if rows not in flattened:
        flattened.add(rows)
        known(rows, depth)
        shape = constant("rows", np.array([-1, depth], np.int64))
        yield helper.make_node("Reshape", [reads, shape], [rows], f"{name}_flatten")
    known(flat, width)
    # As torch's Linear has it: outputs first.
    turned = constant("weight", np.ascontiguousarray(weight.T))
    inputs = [rows, turned] + ([product.bias] if product.bias else [])
    yield helper.make_node("Gemm", inputs, [flat], name, transB=1)
    shape = constant("shape", np.array([-1, *product.inner, width], np.int64))
    yield helper.make_node("Reshape", [flat, shape], [product.output], f"{name}_restore")
