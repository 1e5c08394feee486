"""Writes QuantizeLinear and DequantizeLinear into a float graph as a dialect wants them.

The insertion is ONNX Runtime's own quantizer; which operators, which tensors and which ranges are
ours.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import onnx
import onnx.version_converter
from onnx import numpy_helper
from onnxruntime.quantization import CalibrationMethod, QDQQuantizer, QuantType
from onnxruntime.quantization.calibrate import TensorsData

from exporters.quantize.dialect import Dialect
from exporters.quantize.graph import float_tensors
from exporters.quantize.ranges import Range, TensorRanges
from exporters.quantize.weights import channel_axis, scale_by_channel

__all__ = ["WEIGHTED", "rangeable_tensors", "weighted_nodes", "write_qdq"]

WEIGHTED = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
FOUR_BIT_OPSET = 21
"""The first in which QuantizeLinear and DequantizeLinear know int4."""
FOUR_BIT_LEVELS = 7
"""Steps on either side of zero; -8 is not used, so that a sign changes nothing."""
GATES = frozenset({"Sigmoid", "HardSigmoid"})
CLAMPS = frozenset({"Relu", "Clip"})


def weighted_nodes(model: onnx.ModelProto, dialect: Dialect) -> list[onnx.NodeProto]:
    """Returns the nodes with weights that the dialect quantizes."""
    left = set(_left_float(model))
    return [
        node
        for node in model.graph.node
        if node.op_type in WEIGHTED and node.op_type in dialect.operators and node.name not in left
    ]


def rangeable_tensors(model: onnx.ModelProto, dialects: Collection[Dialect]) -> set[str]:
    """Returns the activations that `write_qdq` may ask a range of, in any of the dialects."""
    wanted: set[str] = set()
    left = set(_left_float(model))
    for dialect in dialects:
        touched = set()
        for node in model.graph.node:
            if node.op_type in dialect.operators and node.name not in left:
                touched.update(node.input)
                if node.op_type not in dialect.float_outputs:
                    touched.update(node.output)
        wanted |= touched - _clamped(model, dialect)
        if dialect.residuals:
            wanted.update(_residual_branches(model))
    return wanted.intersection(float_tensors(model))


def _clamped(model: onnx.ModelProto, dialect: Dialect) -> set[str]:
    """Tensors that are rounded behind the activation function that alone reads them.

    With a zero point of its own, the range behind the function does the function's work.
    """
    if dialect.symmetric:
        return set()
    readers = Counter(name for node in model.graph.node for name in node.input)
    outputs = {port.name for port in model.graph.output}
    return {
        node.input[0]
        for node in model.graph.node
        if node.op_type in CLAMPS
        and node.op_type in dialect.operators
        and readers[node.input[0]] == 1
        and node.input[0] not in outputs
    }


def write_qdq(
    model: onnx.ModelProto,
    dialect: Dialect,
    ranges: Mapping[str, TensorRanges],
    *,
    left_float: Collection[str] = (),
    four_bit: Collection[str] = (),
) -> onnx.ModelProto:
    """Returns the model with QuantizeLinear and DequantizeLinear as the dialect wants them.

    Args:
        ranges: of every name in `rangeable_tensors`.
        left_float: names of nodes that are not quantized although the dialect would.
        four_bit: names of nodes whose weights are int4.
    """
    if four_bit:
        model = onnx.version_converter.convert_version(model, FOUR_BIT_OPSET)
    quantizer = _quantizer(model, dialect, ranges, left_float, four_bit)
    if dialect.residuals:
        for name in _residual_branches(model):
            quantizer.quantize_activation_tensor(name)
    quantizer.quantize_model()
    quantizer.model.topological_sort()
    written: onnx.ModelProto = quantizer.model.model
    scale_by_channel(written, model, bits=dialect.weight_bits)
    # Shapes of the float graph: half of them name tensors that are gone.
    del written.graph.value_info[:]
    onnx.checker.check_model(written)
    return written


def _quantizer(
    model: onnx.ModelProto,
    dialect: Dialect,
    ranges: Mapping[str, TensorRanges],
    left_float: Collection[str],
    four_bit: Collection[str],
) -> QDQQuantizer:
    # The quantizer looks up every float tensor; those it does not quantize get a stand-in.
    unused = Range(0.0, 1.0, "unused")
    table = {}
    for name in float_tensors(model):
        found = ranges.get(name)
        chosen = found.of(symmetric=dialect.symmetric) if found is not None else unused
        table[name] = (np.array(chosen.low, np.float32), np.array(chosen.high, np.float32))
    return QDQQuantizer(
        copy.deepcopy(model),
        # Weights get their scales by channel afterwards, far faster.
        per_channel=False,
        reduce_range=dialect.weight_bits == 7,
        weight_qType=QuantType.QInt8,
        activation_qType=QuantType.QInt8 if dialect.signed else QuantType.QUInt8,
        tensors_range=TensorsData(CalibrationMethod.MinMax, table),
        nodes_to_quantize=[],
        nodes_to_exclude=_excluded(model, dialect, left_float),
        op_types_to_quantize=list(dialect.operators),
        extra_options={
            "ActivationSymmetric": dialect.symmetric,
            "QuantizeBias": dialect.integer_bias,
            "OpTypesToExcludeOutputQuantization": list(dialect.float_outputs),
            "TensorQuantOverrides": _narrow_weights(model, four_bit),
        },
    )


def _narrow_weights(model: onnx.ModelProto, nodes: Collection[str]) -> dict[str, Any]:
    """What the quantizer is told of weights in 4 bits: channel by channel, -7 to 7."""
    constants = {weight.name: weight for weight in model.graph.initializer}
    told = {}
    for node in model.graph.node:
        if node.name not in nodes or node.input[1] not in constants:
            continue
        weight, axis = numpy_helper.to_array(constants[node.input[1]]), channel_axis(node)
        largest = np.abs(weight).max(axis=tuple(a for a in range(weight.ndim) if a != axis))
        scales = np.where(largest > 0, largest, 1).astype(np.float32) / np.float32(FOUR_BIT_LEVELS)
        zero = np.array(0, np.int8)
        told[node.input[1]] = [
            {"axis": axis, "quant_type": QuantType.QInt4, "scale": scale, "zero_point": zero}
            for scale in scales
        ]
    return told


def _excluded(model: onnx.ModelProto, dialect: Dialect, left_float: Collection[str]) -> list[str]:
    """Names of all nodes that are not quantized."""
    excluded = {*_left_float(model), *left_float}
    if left_float:
        excluded.update(_islands(model, excluded))
    return sorted(excluded)


def _islands(model: onnx.ModelProto, excluded: Collection[str]) -> set[str]:
    """Nodes without weights that nothing quantized with weights stands beside.

    Between float neighbours their rounding would cost accuracy and save nothing.
    """
    integer = [
        node for node in model.graph.node if node.op_type in WEIGHTED and node.name not in excluded
    ]
    touched = {name for node in integer for name in [*node.input, *node.output]}
    return {
        node.name
        for node in model.graph.node
        if node.op_type not in WEIGHTED and touched.isdisjoint([*node.input, *node.output])
    }


def _left_float(model: onnx.ModelProto) -> list[str]:
    """Names of the nodes that stay float although their operator is quantized elsewhere."""
    constants = {weight.name for weight in model.graph.initializer}
    producers = {name: node.op_type for node in model.graph.node for name in node.output}
    # Where LayerNormalization follows, nothing has bounded the residual sums that are pooled.
    unbounded = any(node.op_type == "LayerNormalization" for node in model.graph.node)
    left = []
    for node in model.graph.node:
        gated = not GATES.isdisjoint(producers.get(name) for name in node.input)
        scale = node.op_type == "Mul" and not gated
        attention = node.op_type in WEIGHTED and node.input[1] not in constants
        if scale or attention or (node.op_type == "GlobalAveragePool" and unbounded):
            left.append(node.name)
    return left


def _residual_branches(model: onnx.ModelProto) -> list[str]:
    """The other summand of every sum that a convolution can take into its own kernel."""
    readers = Counter(name for node in model.graph.node for name in node.input)
    producers = {name: node.op_type for node in model.graph.node for name in node.output}
    branches = []
    for node in model.graph.node:
        if node.op_type != "Add":
            continue
        fusable = [producers.get(name) == "Conv" and readers[name] == 1 for name in node.input]
        others = [name for name in node.input if name in producers]
        if any(fusable) and len(others) == 2:
            # Of two convolutions, the first is the one that takes the sum.
            branches.append(node.input[1 - fusable.index(True)])
    return branches
