"""Gives the weights of a quantized graph one scale an output channel, and its biases theirs.

ONNX Runtime's quantizer does the same channel by channel in Python, a second for a mobile network
and far more for a large one; here it is done an array at a time, by the same formulas and so with
the same bytes:

* scale of channel c: 2 max |W_c| / levels, or 1 where that is no normal number; zero point 0;
* integers: W_c / scale, rounded half to even;
* bias: int32 at the product of the input's scale and the channel's; where it would not fit, the
  channel's scale is made as much larger as it takes.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

__all__ = ["channel_axis", "scale_by_channel"]

Floats = npt.NDArray[np.float32]

FULL_LEVELS, REDUCED_LEVELS = 254, 128
INTEGERS = np.iinfo(np.int8)
WIDE = np.iinfo(np.int32)
BIAS_MARGIN = 1.0001
"""How much further than the largest bias the range of int32 must reach."""


def channel_axis(node: onnx.NodeProto) -> int:
    """The axis of a node's weight that its output channels lie on."""
    if node.op_type == "Conv":
        return 0
    transposed = any(item.name == "transB" and item.i == 1 for item in node.attribute)
    return 0 if node.op_type == "Gemm" and transposed else 1


def scale_by_channel(
    written: onnx.ModelProto, source: onnx.ModelProto, *, bits: int, again: bool = False
) -> None:
    """Rounds int8 weights and int32 biases anew, in place; those of 4 bits are left alone.

    Args:
        written: `source` quantized with one scale a weight.
        source: the float model, its nodes named as in `written`.
        bits: 8, or 7 for half the levels.
        again: `written` has been here before, with the same weights.
    """
    graph = _Graph(written)
    floats = {tensor.name: tensor for tensor in source.graph.initializer}
    before = {node.name: node for node in source.graph.node}
    levels = REDUCED_LEVELS if bits == 7 else FULL_LEVELS
    scales: dict[str, Floats] = {}
    found = []
    for node in written.graph.node:
        dequantize = graph.weight_of(node)
        if dequantize is None or node.name not in before:
            continue
        weight = numpy_helper.to_array(floats[before[node.name].input[1]])
        axis = channel_axis(node)
        if weight.ndim <= axis:
            continue
        found.append((node, dequantize, weight, axis))
        if dequantize.input[1] not in scales:
            scales[dequantize.input[1]] = _scales(weight, axis, levels)
        bias = graph.bias_of(node)
        if bias is not None:
            values = numpy_helper.to_array(floats[before[node.name].input[2]])
            _make_room(scales[dequantize.input[1]], graph.input_scale(node), values)
    for node, dequantize, weight, axis in found:
        if not again or not graph.has_scales(dequantize, scales[dequantize.input[1]]):
            graph.set_weight(dequantize, weight, scales[dequantize.input[1]], axis)
        bias = graph.bias_of(node)
        if bias is not None:
            values = numpy_helper.to_array(floats[before[node.name].input[2]])
            steps = graph.input_scale(node) * scales[dequantize.input[1]] * _beta(before[node.name])
            graph.set_bias(bias, values, steps)


def _scales(weight: Floats, axis: int, levels: int) -> Floats:
    others = tuple(each for each in range(weight.ndim) if each != axis)
    reach = np.abs(weight).max(axis=others, initial=0).astype(np.float64)
    scales = 2 * reach / levels
    return np.where(scales < np.finfo(np.float32).tiny, 1.0, scales).astype(np.float32)


def _make_room(scales: Floats, input_scale: Floats, bias: Floats) -> None:
    """Enlarges, in place, the scales of channels whose bias would not fit into int32."""
    span = float(WIDE.max) - float(WIDE.min + 1)
    needed = BIAS_MARGIN * (2.0 * np.abs(bias.reshape(-1))) / span
    given = np.float64(input_scale) * scales.astype(np.float64)
    short = (given < needed) & (given > 0)
    if short.any():
        grown = scales.astype(np.float64)[short] * (needed[short] / given[short])
        scales[short] = grown.astype(np.float32)


def _beta(node: onnx.NodeProto) -> float:
    return next((item.f for item in node.attribute if item.name == "beta"), 1.0)


class _Graph:
    """A quantized graph, to look up and to change."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self._tensors: Mapping[str, onnx.TensorProto] = {
            tensor.name: tensor for tensor in model.graph.initializer
        }
        self._producers = {name: node for node in model.graph.node for name in node.output}

    def weight_of(self, node: onnx.NodeProto) -> onnx.NodeProto | None:
        """The DequantizeLinear behind a node's constant int8 weight."""
        if node.op_type not in ("Conv", "ConvTranspose", "Gemm", "MatMul"):
            return None
        return self._constant(node.input[1], TensorProto.INT8)

    def bias_of(self, node: onnx.NodeProto) -> onnx.NodeProto | None:
        """The DequantizeLinear behind a node's constant int32 bias."""
        return self._constant(node.input[2], TensorProto.INT32) if len(node.input) == 3 else None

    def _constant(self, name: str, kind: int) -> onnx.NodeProto | None:
        made = self._producers.get(name)
        if made is None or made.op_type != "DequantizeLinear":
            return None
        stored = self._tensors.get(made.input[0])
        return made if stored is not None and stored.data_type == kind else None

    def input_scale(self, node: onnx.NodeProto) -> Floats:
        """Scale of what a node reads, []."""
        return numpy_helper.to_array(self._tensors[self._producers[node.input[0]].input[1]])

    def has_scales(self, dequantize: onnx.NodeProto, scales: Floats) -> bool:
        """Whether a weight is stored with just these."""
        return np.array_equal(numpy_helper.to_array(self._tensors[dequantize.input[1]]), scales)

    def set_weight(
        self, dequantize: onnx.NodeProto, weight: Floats, scales: Floats, axis: int
    ) -> None:
        """Stores a weight by channel."""
        shape = [1] * weight.ndim
        shape[axis] = -1
        whole = np.round(weight / scales.reshape(shape))
        whole = np.clip(whole, INTEGERS.min, INTEGERS.max).astype(np.int8)
        stored, scale, zero = dequantize.input
        self._tensors[stored].CopyFrom(numpy_helper.from_array(whole, stored))
        count = [len(scales)]
        self._tensors[scale].CopyFrom(helper.make_tensor(scale, TensorProto.FLOAT, count, scales))
        zeros = np.zeros(count, np.int8)
        self._tensors[zero].CopyFrom(helper.make_tensor(zero, TensorProto.INT8, count, zeros))
        _set_axis(dequantize, axis)

    def set_bias(self, dequantize: onnx.NodeProto, bias: Floats, steps: Floats) -> None:
        """Stores a bias by channel."""
        stored, scale, zero = dequantize.input
        shape = tuple(self._tensors[stored].dims)
        whole = np.round(bias.reshape(-1).astype(np.float64) / steps.astype(np.float64))
        whole = np.clip(whole, WIDE.min, WIDE.max).astype(np.int32).reshape(shape)
        self._tensors[stored].CopyFrom(numpy_helper.from_array(whole, stored))
        self._tensors[scale].CopyFrom(numpy_helper.from_array(steps.astype(np.float32), scale))
        if len(steps) > 1:
            zeros = np.zeros(len(steps), np.int32)
            self._tensors[zero].CopyFrom(numpy_helper.from_array(zeros, zero))
            _set_axis(dequantize, 0)


def _set_axis(dequantize: onnx.NodeProto, axis: int) -> None:
    del dequantize.attribute[:]
    dequantize.attribute.append(helper.make_attribute("axis", axis))
