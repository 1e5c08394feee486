"""Rules of ONNX Runtime's processor kernels, each held against a profiled run in the tests.

It fuses an operator into integer arithmetic only if DequantizeLinear is all it reads and
QuantizeLinear all that reads it. MatMul and Gemm may give float; a convolution may not. A Relu or
Clip in between goes away where the bytes behind it cannot leave its interval anyway, and stays, and
keeps the convolution in float, where they can.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from onnx import NodeProto, TensorProto

from cake_edge.errors import ArtifactError
from exporters.lint.finding import Rule
from exporters.lint.graph import WEIGHTED, Graph, label
from exporters.lint.rules_common import (
    QUANTIZE,
    RETARGET,
    WEIGHT_ONLY,
    dynamic_sizes,
    narrow_weights,
    useless_scales,
    weight_axes,
)
from exporters.runtimes.ort import open_inference_session, session_options

__all__ = ["RULES"]

X86 = ("ort-x86", "ort-x86-novnni")
STATIC = (*X86, "ort-arm")
# Operators, besides those with weights, that have an integer kernel.
INTEGER_FORMS = frozenset(
    {"Add", "Mul", "Sigmoid", "LeakyRelu", "Softmax", "AveragePool", "GlobalAveragePool", "Concat"}
)
SEVEN_BITS = 64
CLOSE = (1e-6, 1e-2)
"""How far ONNX Runtime lets a bias's scale lie from the product: this and this share of it."""
LEVELS: dict[int, tuple[int, int]] = {
    TensorProto.UINT8: (0, 255),
    TensorProto.INT8: (-128, 127),
}


def refused(graph: Graph) -> list[str]:
    """What ONNX Runtime says to the file, where it does not open it."""
    try:
        open_inference_session(
            graph.model.SerializeToString(), session_options(optimise=False), what="the file"
        )
    except ArtifactError as error:
        return [str(error)]
    return []


def signed_activations(graph: Graph) -> list[str]:
    """QuantizeLinear of activations to int8."""
    return _activations_of(graph, TensorProto.INT8)


def unsigned_activations(graph: Graph) -> list[str]:
    """QuantizeLinear of activations to uint8."""
    return _activations_of(graph, TensorProto.UINT8)


def _activations_of(graph: Graph, kind: int) -> list[str]:
    return [
        label(node)
        for node in graph.on_activations()
        if node.op_type == "QuantizeLinear" and graph.integer_type(node) == kind
    ]


def unsigned_weights(graph: Graph) -> list[str]:
    """Operators whose weights are uint8."""
    return [
        label(node)
        for node, stored in _stored_weights(graph)
        if graph.integer_type(stored) == TensorProto.UINT8
    ]


def full_weights(graph: Graph) -> list[str]:
    """Operators whose int8 weights use more than seven bits."""
    found = []
    for node, stored in _stored_weights(graph):
        values = graph.values(stored.input[0])
        if values is not None and values.dtype == np.int8 and _largest(values) > SEVEN_BITS:
            found.append(label(node))
    return found


def _largest(values: npt.NDArray[np.int8]) -> int:
    return int(max(abs(int(values.min())), abs(int(values.max())))) if values.size else 0


def _stored_weights(graph: Graph) -> list[tuple[NodeProto, NodeProto]]:
    """Operators with weights, and the DequantizeLinear of each."""
    pairs = ((node, graph.dequantized(node, 1)) for node in graph.weighted())
    return [(node, stored) for node, stored in pairs if stored is not None]


def four_bits(graph: Graph) -> list[str]:
    """Operators of quantized activations with weights of 4 bits."""
    return narrow_weights(graph, *WEIGHTED)


def kept_activations(graph: Graph) -> list[str]:
    """Convolutions behind which a Relu or Clip stays, as the bytes behind it reach further."""
    found = []
    for node in _quantized_convolutions(graph):
        reader = graph.only_reader(node)
        if reader is None or reader.op_type not in ("Relu", "Clip"):
            continue
        behind = graph.only_reader(reader)
        if behind is None or behind.op_type != "QuantizeLinear":
            continue
        if not _swallows(graph, behind, reader):
            found.append(label(node))
    return found


def float_outputs(graph: Graph) -> list[str]:
    """Convolutions between quantized inputs and something else than QuantizeLinear."""
    found = []
    for node in _quantized_convolutions(graph):
        reader = graph.only_reader(node)
        if reader is not None and reader.op_type in ("Relu", "Clip"):
            reader = graph.only_reader(reader)
        if reader is None or reader.op_type != "QuantizeLinear":
            found.append(label(node))
    return found


def _quantized_convolutions(graph: Graph) -> list[NodeProto]:
    return [
        node
        for node in graph.named("Conv")
        if graph.dequantized(node, 0) is not None and graph.dequantized(node, 1) is not None
    ]


def _swallows(graph: Graph, quantize: NodeProto, bound: NodeProto) -> bool:
    """Whether all that a QuantizeLinear can give lies within a Relu's or Clip's interval."""
    scale, zero = graph.scale(quantize), graph.zero_point(quantize)
    levels = LEVELS.get(graph.integer_type(quantize))
    if scale is None or zero is None or levels is None or scale.size != 1 or zero.size != 1:
        return False
    lowest, highest = (
        float((each - zero.astype(np.int32).item()) * scale.item()) for each in levels
    )
    low, high = 0.0, np.inf
    if bound.op_type == "Clip":
        low, high = _limit(graph, bound, 1, -np.inf), _limit(graph, bound, 2, np.inf)
    slack = 1e-6 * (highest - lowest)
    return low <= lowest + slack and highest - slack <= high


def _limit(graph: Graph, clip: NodeProto, index: int, default: float) -> float:
    """A bound of a Clip; NaN, which nothing lies within, where it is computed."""
    if index >= len(clip.input) or not clip.input[index]:
        return default
    value = graph.values(clip.input[index])
    return float(value.item()) if value is not None and value.size == 1 else np.nan


def foreign_biases(graph: Graph) -> list[str]:
    """Convolutions whose int32 bias is not at the product of the other two scales."""
    return _with_foreign_bias(graph, "Conv")


def ignored_bias_scales(graph: Graph) -> list[str]:
    """Gemms whose int32 bias is not at the product of the other two scales."""
    return _with_foreign_bias(graph, "Gemm")


def _with_foreign_bias(graph: Graph, operator: str) -> list[str]:
    found = []
    for node in graph.named(operator):
        stored = [graph.dequantized(node, index) for index in range(3)]
        scales = [graph.scale(each) for each in stored if each is not None]
        known = [np.asarray(scale, np.float64).ravel() for scale in scales if scale is not None]
        if len(known) < 3 or known[0].size != 1 or not _alike(known[1], known[2]):
            continue
        product, bias = known[0] * known[1], known[2]
        if (np.abs(bias - product) > CLOSE[0] + CLOSE[1] * product).any():
            found.append(label(node))
    return found


def _alike(one: npt.NDArray[np.float64], other: npt.NDArray[np.float64]) -> bool:
    return one.size == other.size or 1 in (one.size, other.size)


def float_islands(graph: Graph) -> list[str]:
    """Operators that have an integer form, at the edge of quantized ones, and stay float."""
    return [label(node) for node in graph.named(*INTEGER_FORMS) if _is_island(graph, node)]


def _is_island(graph: Graph, node: NodeProto) -> bool:
    if any(name in graph.constants for name in node.input):
        return False  # what is added or multiplied is float, and meant to be
    taken = [graph.dequantized(node, index) is not None for index in range(len(node.input))]
    given = _gives_quantized(graph, node)
    return any([*taken, given]) and not all([*taken, given])


def _gives_quantized(graph: Graph, node: NodeProto) -> bool:
    """Whether QuantizeLinear alone reads a node, directly or behind what it makes redundant."""
    reader = graph.only_reader(node)
    if reader is not None and reader.op_type in ("Relu", "Clip"):
        behind = graph.only_reader(reader)
        quantized = behind is not None and behind.op_type == "QuantizeLinear"
        return behind is not None and quantized and _swallows(graph, behind, reader)
    return reader is not None and reader.op_type == "QuantizeLinear"


def half_precision(graph: Graph) -> list[str]:
    """Operators with weights that give float16."""
    return [
        label(node)
        for node in graph.weighted()
        if graph.type_of(node.output[0]) == TensorProto.FLOAT16
    ]


def unpacked_weights(graph: Graph) -> list[str]:
    """MatMul and Gemm with float weights, where packed ones were asked for."""
    return [
        label(node)
        for node in graph.weighted()
        if node.op_type in ("MatMul", "Gemm") and node.input[1] in graph.constants
    ]


RULES = (
    Rule(
        name="runtime-refuses",
        severity="rejected",
        targets=("ort-",),
        find=refused,
        reason="the ONNX Runtime installed here does not open the file, in its own words above",
        remedy="cake-edge export CKPT --out OUT.onnx, or pip install --upgrade onnxruntime where "
        "the file is newer than it",
    ),
    Rule(
        name="int8-activations",
        severity="slow",
        targets=X86,
        find=signed_activations,
        reason="activations are signed, and x86 processors multiply unsigned by signed bytes, so "
        "kernels convert first and many operators stay float",
        remedy=RETARGET,
    ),
    Rule(
        name="uint8-activations",
        severity="note",
        targets=("ort-arm",),
        find=unsigned_activations,
        reason="activations are unsigned; the ARM kernels take them too, with signed weights "
        "turned round first, so signed ones may be faster",
        remedy=RETARGET + ", and measure both there with cake-edge bench",
    ),
    Rule(
        name="uint8-weights",
        severity="slow",
        targets=("ort-x86",),
        find=unsigned_weights,
        reason="weights are unsigned, which the processor's instruction for unsigned times signed "
        "bytes does not take: more than twice as slow on a ResNet-18",
        remedy=QUANTIZE,
    ),
    Rule(
        name="weight-saturation",
        severity="note",
        targets=("ort-x86-novnni",),
        find=full_weights,
        reason="weights use all 8 bits; without VNNI two products are added in 16 bits and "
        "clamped, which spoils results without a word",
        remedy=QUANTIZE,
    ),
    Rule(
        name="int4-weights",
        severity="float",
        targets=STATIC,
        find=four_bits,
        reason="weights have 4 bits, for which there is no integer kernel: they are widened, and "
        "the operator is smaller in the file and no faster",
        remedy=QUANTIZE + ", with weights of 8 bits where speed counts",
    ),
    Rule(
        name="weight-axis",
        severity="float",
        targets=STATIC,
        find=weight_axes,
        reason="weights have their scales along another axis than the output channels, so the "
        "products of one sum differ in scale, and no integer kernel takes them",
        remedy=QUANTIZE,
    ),
    Rule(
        name="activation-kept",
        severity="float",
        targets=STATIC,
        find=kept_activations,
        reason="a Relu or Clip follows whose interval the quantized range exceeds (a zero point "
        "above the lowest level, or a scale too wide), so it is computed, and with it the "
        "convolution, in float",
        remedy=RETARGET,
    ),
    Rule(
        name="float-output",
        severity="float",
        targets=STATIC,
        find=float_outputs,
        reason="nothing quantizes the output, and a convolution is fused into integer arithmetic "
        "only between DequantizeLinear and QuantizeLinear",
        remedy=RETARGET,
    ),
    Rule(
        name="bias-scale",
        severity="float",
        targets=STATIC,
        find=foreign_biases,
        reason="the scale of the int32 bias is not that of the activation times that of the "
        "weight, so the bias cannot be added to the integer sum",
        remedy=RETARGET,
    ),
    Rule(
        name="bias-scale-ignored",
        severity="rejected",
        targets=STATIC,
        find=ignored_bias_scales,
        reason="the scale of the int32 bias is not that of the activation times that of the "
        "weight, and the integer Gemm takes the bias as if it were: its results are wrong",
        remedy=RETARGET,
    ),
    Rule(
        name="float-island",
        severity="slow",
        targets=STATIC,
        find=float_islands,
        reason="these operators have an integer form and quantized neighbours on one side alone, "
        "so they run in float between conversions",
        remedy=QUANTIZE + "; where that leaves them too, accuracy is why",
    ),
    Rule(
        name="scale",
        severity="note",
        targets=STATIC,
        find=useless_scales,
        reason="a scale is zero, negative or not finite (the tensor had no range); what is divided "
        "by it is NaN or one of two levels",
        remedy=QUANTIZE + ", on images for which no tensor is all zero",
    ),
    Rule(
        name="float16-body",
        severity="note",
        targets=("ort-",),
        find=half_precision,
        reason="operators are float16, for which ONNX Runtime has no kernels on processors: it "
        "converts them to float32 when it opens the file, which is smaller but no faster",
        remedy=QUANTIZE,
    ),
    Rule(
        name="dynamic-size",
        severity="slow",
        targets=("ort-",),
        find=dynamic_sizes,
        reason="an axis other than the batch is dynamic, so shapes are computed and memory is "
        "planned anew in each run",
        remedy="export it for one size of image: cake-edge export CKPT --out OUT.onnx",
    ),
    Rule(
        name="float-weights",
        severity="float",
        targets=WEIGHT_ONLY,
        find=unpacked_weights,
        reason="these products have float32 weights; packed into blocks of few bits they take a "
        "quarter to an eighth of the memory traffic",
        remedy=QUANTIZE,
    ),
)
