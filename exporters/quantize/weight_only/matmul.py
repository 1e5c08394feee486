"""Writes matrix products with constant weights as MatMulNBits: a scale for each block of weights.

The rounding is ONNX Runtime's own. A Gemm, y = a x W' + b c, is first written as the MatMul and the
Add that it is, as only MatMul has the other form.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from exporters.quantize.graph import drop_unused
from exporters.quantize.weight_only import WeightOnly

__all__ = ["as_products", "product_share", "products", "write_blocks"]

# The product is computed with activations rounded to 8 bits, block by block, as it runs; in float
# the operator is slower than what it replaces (0.73 times, where this is 1.4 times as fast).
ACCURACY_LEVEL = 4
LOGGER = "onnxruntime.quantization.matmul_nbits_quantizer"


def as_products(model: onnx.ModelProto) -> onnx.ModelProto:
    """Returns the model with every Gemm of constant weights as MatMul and Add."""
    changed = copy.deepcopy(model)
    graph = changed.graph
    constants = {tensor.name: tensor for tensor in graph.initializer}
    nodes = []
    for node in graph.node:
        given = {item.name: onnx.helper.get_attribute_value(item) for item in node.attribute}
        constant = node.op_type == "Gemm" and {*node.input[1:]} - {""} <= constants.keys()
        if not constant or given.get("transA", 0):
            nodes.append(node)
            continue
        weight = _values(constants[node.input[1]]) * np.float32(given.get("alpha", 1.0))
        weight = weight.T if given.get("transB", 0) else weight
        name = f"{node.input[1]}_of_{node.name}"
        graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(weight), name))
        biased = len(node.input) == 3 and bool(node.input[2])
        product = f"{node.output[0]}_product" if biased else node.output[0]
        nodes.append(
            onnx.helper.make_node("MatMul", [node.input[0], name], [product], name=node.name)
        )
        if biased:
            bias = _values(constants[node.input[2]]) * np.float32(given.get("beta", 1.0))
            graph.initializer.append(numpy_helper.from_array(bias, f"{name}_bias"))
            ends = [product, f"{name}_bias"], [node.output[0]]
            nodes.append(onnx.helper.make_node("Add", *ends, name=f"{node.name}_bias"))
    del graph.node[:]
    graph.node.extend(nodes)
    drop_unused(graph)
    return changed


def products(model: onnx.ModelProto) -> list[onnx.NodeProto]:
    """Returns the MatMuls whose second operand is a constant matrix."""
    shapes = {tensor.name: len(tensor.dims) for tensor in model.graph.initializer}
    return [
        node
        for node in model.graph.node
        if node.op_type == "MatMul" and shapes.get(node.input[1]) == 2
    ]


def product_share(model: onnx.ModelProto) -> float:
    """Returns which share of all float constants, by number of values, `products` multiply by."""
    sizes = {
        tensor.name: int(np.prod(tensor.dims))
        for tensor in model.graph.initializer
        if tensor.data_type == onnx.TensorProto.FLOAT
    }
    inside = {node.input[1] for node in products(model)}
    total = sum(sizes.values())
    return sum(sizes.get(name, 0) for name in inside) / total if total else 0.0


def write_blocks(model: onnx.ModelProto, target: WeightOnly, *, symmetric: bool) -> onnx.ModelProto:
    """Returns the model with `products` as MatMulNBits.

    Args:
        symmetric: whether the middle level stands for 0 in every block; otherwise each block has a
            zero point of its own.
    """
    with _quiet():
        from onnxruntime.quantization.matmul_nbits_quantizer import (
            DefaultWeightOnlyQuantConfig,
            MatMulNBitsQuantizer,
        )

        quantizer: Any = MatMulNBitsQuantizer(
            copy.deepcopy(model),
            algo_config=DefaultWeightOnlyQuantConfig(
                block_size=target.block,
                bits=target.bits,
                is_symmetric=symmetric,
                accuracy_level=ACCURACY_LEVEL,
            ),
        )
        quantizer.process()
    written: onnx.ModelProto = quantizer.model.model
    drop_unused(written.graph)
    del written.graph.value_info[:]
    onnx.checker.check_model(written)
    return written


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps the log as it was: the module sets up the root logger as it is imported."""
    root, own = logging.getLogger(), logging.getLogger(LOGGER)
    handlers, level, own_level = list(root.handlers), root.level, own.level
    # With a handler there, basicConfig leaves the root alone.
    root.addHandler(logging.NullHandler())
    own.setLevel(logging.WARNING)
    try:
        yield
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
        own.setLevel(own_level)


def _values(tensor: onnx.TensorProto) -> Any:
    return numpy_helper.to_array(tensor).astype(np.float32)
