"""Corrects biases for the mean error that rounding the weights makes.

With weights W rounded to W + E, a layer's output moves by E x on average E[E x] = E E[x]; taking
that from the bias removes the shift of each output channel (Nagel et al., "Data-Free Quantization
Through Weight Equalization and Bias Correction", ICCV 2019, section 4.2). They derive E[x] from
BatchNorm; here it is measured on the images. At the border, where a kernel reaches over the edge,
the mean is taken to be that of the inside.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper

__all__ = ["correct_biases", "correctable_inputs"]

Array = npt.NDArray[np.float64]


def correctable_inputs(model: onnx.ModelProto) -> set[str]:
    """Returns the tensors whose channel means `correct_biases` needs."""
    return {node.input[0] for node in _correctable(model)}


def correct_biases(
    model: onnx.ModelProto, quantized: onnx.ModelProto, means: Mapping[str, Array]
) -> onnx.ModelProto:
    """Returns the float model with biases that make up for the rounded weights of `quantized`.

    Args:
        means: mean of each channel of the tensors in `correctable_inputs`.
    """
    corrected = copy.deepcopy(model)
    constants = {weight.name: weight for weight in corrected.graph.initializer}
    rounded = _rounded_weights(quantized)
    for node in _correctable(corrected):
        weight, bias = constants[node.input[1]], constants[node.input[2]]
        if node.name not in rounded:
            continue
        error = rounded[node.name] - numpy_helper.to_array(weight).astype(np.float64)
        shift = _output_shift(error, means[node.input[0]])
        values = numpy_helper.to_array(bias) - shift
        bias.CopyFrom(numpy_helper.from_array(values.astype(np.float32), bias.name))
    return corrected


def _correctable(model: onnx.ModelProto) -> list[onnx.NodeProto]:
    """Conv and Gemm with constant weights and a bias of their own."""
    constants = {weight.name for weight in model.graph.initializer}
    uses: dict[str, int] = {}
    for node in model.graph.node:
        for name in node.input:
            uses[name] = uses.get(name, 0) + 1
    return [
        node
        for node in model.graph.node
        if _outputs_first(node)
        and len(node.input) == 3
        and constants.issuperset(node.input[1:])
        and uses[node.input[2]] == 1
    ]


def _outputs_first(node: onnx.NodeProto) -> bool:
    """Whether axis 0 of a node's weight counts its outputs."""
    return node.op_type == "Conv" or (node.op_type == "Gemm" and _is_linear(node))


def _is_linear(node: onnx.NodeProto) -> bool:
    """Whether a Gemm is y = W x + b with W of shape [outputs, inputs], as torch's Linear is."""
    defaults = {"alpha": 1.0, "beta": 1.0, "transA": 0, "transB": 0}
    given = {item.name: onnx.helper.get_attribute_value(item) for item in node.attribute}
    return {**defaults, **given} == {**defaults, "transB": 1}


def _rounded_weights(quantized: onnx.ModelProto) -> dict[str, Array]:
    """What the integers of each node's weight stand for, by the node's name."""
    constants = {weight.name: weight for weight in quantized.graph.initializer}
    sources = {
        node.output[0]: node
        for node in quantized.graph.node
        if node.op_type == "DequantizeLinear" and node.input[0] in constants
    }
    found = {}
    for node in quantized.graph.node:
        if not _outputs_first(node) or node.input[1] not in sources:
            continue
        integers, scale = (
            numpy_helper.to_array(constants[name]).astype(np.float64)
            for name in sources[node.input[1]].input[:2]
        )
        # One scale an output channel; zero points are 0.
        found[node.name] = integers * scale.reshape(-1, *[1] * (integers.ndim - 1))
    return found


def _output_shift(error: Array, mean: Array) -> Array:
    """E E[x], [outputs]: `error` is [outputs, inputs of a group, …], `mean` is [inputs]."""
    summed = error.reshape(*error.shape[:2], -1).sum(axis=2)
    outputs, width = summed.shape
    groups = len(mean) // width
    grouped = summed.reshape(groups, outputs // groups, width)
    shift: Array = np.einsum("gow,gw->go", grouped, mean.reshape(groups, width)).reshape(outputs)
    return shift
