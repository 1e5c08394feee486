"""Rules of TensorRT, each proven on NVIDIA's compiler in the tests.

What the parser refuses: zero points, unsigned bytes, integer biases and operators of other
runtimes. What the builder does with the rest is seen in the engine: where a rule says "float" the
engine holds a float kernel.
"""

from __future__ import annotations

import numpy as np
from onnx import NodeProto, TensorProto

from cake_edge.onnx_file import default_opset
from exporters.lint.finding import Rule
from exporters.lint.graph import STANDARD, Graph, label
from exporters.lint.rules_common import (
    QUANTIZE,
    RETARGET,
    dynamic_sizes,
    narrow_weights,
    useless_scales,
    weight_axes,
)
from exporters.lint.tensorrt_operators import NEWEST_OPSET, UNKNOWN_OPERATORS
from exporters.operators import is_integer_operator
from exporters.quantize.body import HALF_OPSET

__all__ = ["RULES"]

FAMILY = ("tensorrt", "tensorrt-")
SIGNED = frozenset(
    {
        TensorProto.INT8,
        TensorProto.INT4,
        TensorProto.FLOAT8E4M3FN,
        TensorProto.FLOAT4E2M1,
    }
)
ACTIVATIONS = frozenset({"Relu", "Clip", "LeakyRelu", "Sigmoid", "HardSigmoid", "HardSwish"})
FLOAT_ONLY = frozenset({"LayerNormalization", "Softmax", "RMSNormalization", "GroupNormalization"})


def integer_biases(graph: Graph) -> list[str]:
    """DequantizeLinear of int32."""
    return [
        label(node)
        for node in graph.named("DequantizeLinear")
        if graph.integer_type(node) == TensorProto.INT32
    ]


def zero_points(graph: Graph) -> list[str]:
    """Q and DQ whose zero point is not 0."""
    found = []
    for node in graph.quantizers():
        zero = graph.zero_point(node)
        if zero is not None and np.any(zero.astype(np.int32) != 0):
            found.append(label(node))
    return found


def unsigned_bytes(graph: Graph) -> list[str]:
    """Q and DQ of uint8."""
    return [
        label(node) for node in graph.quantizers() if graph.integer_type(node) == TensorProto.UINT8
    ]


def other_types(graph: Graph) -> list[str]:
    """Q and DQ of a type that is neither known, nor the subject of a rule of its own."""
    known = SIGNED | {TensorProto.UINT8, TensorProto.INT32, 0}
    return [label(node) for node in graph.quantizers() if graph.integer_type(node) not in known]


def narrow_convolutions(graph: Graph) -> list[str]:
    """Convolutions of quantized activations with weights of 4 bits."""
    return narrow_weights(graph, "Conv", "ConvTranspose")


def integer_operators(graph: Graph) -> list[str]:
    """QLinearConv, ConvInteger and their like."""
    return [f"{label(node)} ({node.op_type})" for node in _foreign(graph) if _integer(node)]


def foreign_operators(graph: Graph) -> list[str]:
    """Operators of another domain than ONNX's own, which only their runtime knows."""
    return [
        f"{label(node)} ({node.domain}.{node.op_type})"
        for node in _foreign(graph)
        if node.domain not in STANDARD and not _integer(node)
    ]


def unknown_operators(graph: Graph) -> list[str]:
    """Operators of ONNX that NVIDIA's parser does not know."""
    return [
        f"{label(node)} ({node.op_type})"
        for node in _foreign(graph)
        if node.domain in STANDARD and not _integer(node) and node.op_type in UNKNOWN_OPERATORS
    ]


def _integer(node: NodeProto) -> bool:
    return is_integer_operator(node.op_type)


def _foreign(graph: Graph) -> list[NodeProto]:
    """Every node but calls of the model's own functions."""
    own = {(function.domain, function.name) for function in graph.model.functions}
    return [node for node in graph.every_node() if (node.domain, node.op_type) not in own]


def newer_opset(graph: Graph) -> list[str]:
    """The model, where its operators are newer than the parser's documentation."""
    version = default_opset(graph.model)
    return [f"opset {version}"] if version > NEWEST_OPSET else []


def before_activations(graph: Graph) -> list[str]:
    """Convolutions whose output is quantized before it reaches the activation."""
    found = []
    for node in graph.named("Conv", "ConvTranspose"):
        reader = graph.only_reader(node)
        if reader is None or reader.op_type != "QuantizeLinear":
            continue
        behind = [
            activation
            for dequantize in graph.readers[reader.output[0]]
            for name in dequantize.output
            for activation in graph.readers[name]
        ]
        if any(each.op_type in ACTIVATIONS for each in behind):
            found.append(label(node))
    return found


def quantized_float_only(graph: Graph) -> list[str]:
    """Normalisations and softmax that read what was quantized."""
    return [
        label(node) for node in graph.named(*FLOAT_ONLY) if graph.dequantized(node, 0) is not None
    ]


def float_residuals(graph: Graph) -> list[str]:
    """Sums of a quantized convolution's output and a branch that is float."""
    found = []
    for node in _sums(graph):
        sides = [graph.producer(node, index) for index in (0, 1)]
        if any(_fusable(graph, side) for side in sides) and not any(
            side is not None and side.op_type == "DequantizeLinear" for side in sides
        ):
            found.append(label(node))
    return found


def quantized_sums(graph: Graph) -> list[str]:
    """Sums that read a convolution's own output through Q and DQ."""
    found = []
    for node in _sums(graph):
        sides = [graph.dequantized(node, index) for index in (0, 1)]
        sources = [graph.producer(side, 0) for side in sides if side is not None]
        makers = [graph.producer(each, 0) for each in sources if each is not None]
        if None not in sides and any(_fusable(graph, maker) for maker in makers):
            found.append(label(node))
    return found


def _sums(graph: Graph) -> list[NodeProto]:
    """Additions of two tensors that the model computes; a bias is none."""
    return [
        node
        for node in graph.named("Add")
        if all(name in graph.producers and name not in graph.constants for name in node.input)
    ]


def _fusable(graph: Graph, node: NodeProto | None) -> bool:
    """Whether a node is a quantized convolution whose output one node reads."""
    return (
        node is not None
        and node.op_type == "Conv"
        and graph.dequantized(node, 0) is not None
        and graph.only_reader(node) is not None
    )


def float32_bodies(graph: Graph) -> list[str]:
    """Operators with weights that give float32, in a file that can hold float16."""
    return _float32(graph) if default_opset(graph.model) >= HALF_OPSET else []


def old_float32_bodies(graph: Graph) -> list[str]:
    """Operators with weights that give float32, in a file that cannot hold float16."""
    return _float32(graph) if default_opset(graph.model) < HALF_OPSET else []


def _float32(graph: Graph) -> list[str]:
    if not graph.is_quantized():
        return []  # one finding says it all
    return [
        label(node)
        for node in graph.weighted()
        if graph.type_of(node.output[0]) == TensorProto.FLOAT
    ]


RULES = (
    Rule(
        name="int32-bias",
        severity="rejected",
        targets=FAMILY,
        find=integer_biases,
        reason="biases are int32 behind DequantizeLinear, which TensorRT's parser does not take: "
        "it adds biases in float",
        remedy=RETARGET,
    ),
    Rule(
        name="zero-point",
        severity="rejected",
        targets=FAMILY,
        find=zero_points,
        reason="the zero point is not 0, and TensorRT's integer kernels have none",
        remedy=RETARGET,
    ),
    Rule(
        name="uint8",
        severity="rejected",
        targets=FAMILY,
        find=unsigned_bytes,
        reason="bytes are unsigned; with zero point 0 TensorRT only warns, takes them for signed "
        "and clips everything above 127, the upper half of each range",
        remedy=RETARGET,
    ),
    Rule(
        name="integer-type",
        severity="rejected",
        targets=FAMILY,
        find=other_types,
        reason="TensorRT quantizes to int8 (weights also to int4, and newer GPUs to fp8), not to "
        "this type",
        remedy=QUANTIZE,
    ),
    Rule(
        name="int4-convolution",
        severity="rejected",
        targets=FAMILY,
        find=narrow_convolutions,
        reason="a convolution has weights of 4 bits and activations of 8, which TensorRT's builder "
        "does not take; it widens such weights for matrix products alone",
        remedy=QUANTIZE + ", with weights of 8 bits",
    ),
    Rule(
        name="integer-operator",
        severity="rejected",
        targets=FAMILY,
        find=integer_operators,
        reason="TensorRT does not know ONNX's integer operators: it takes float operators between "
        "QuantizeLinear and DequantizeLinear and chooses the integer kernels itself",
        remedy=QUANTIZE,
    ),
    Rule(
        name="foreign-operator",
        severity="rejected",
        targets=FAMILY,
        find=foreign_operators,
        reason="the operator belongs to another runtime, and TensorRT finds no plugin of its name",
        remedy="give a file of ONNX's own operators: one that `cake-edge export` wrote, or the one "
        "from before that runtime optimised it",
    ),
    Rule(
        name="unknown-operator",
        severity="rejected",
        targets=FAMILY,
        find=unknown_operators,
        reason="NVIDIA's ONNX parser has no form for this operator",
        remedy="export the network without it, or write a TensorRT plugin for it",
    ),
    Rule(
        name="scale",
        severity="rejected",
        targets=FAMILY,
        find=useless_scales,
        reason="a scale is zero, negative or not finite (the tensor had no range), and TensorRT "
        "takes positive ones only",
        remedy=QUANTIZE + ", on images for which no tensor is all zero",
    ),
    Rule(
        name="dynamic-size",
        severity="rejected",
        targets=FAMILY,
        find=dynamic_sizes,
        reason="an axis other than the batch is dynamic, and no optimization profile can be "
        "written without its smallest, usual and largest size",
        remedy="export it for one size of image: cake-edge export CKPT --out OUT.onnx",
    ),
    Rule(
        name="opset",
        severity="note",
        targets=FAMILY,
        find=newer_opset,
        reason=f"TensorRT 10.15 documents its parser up to opset {NEWEST_OPSET}; older ones, as in "
        "JetPack, end before that, and may refuse operators that changed since",
        remedy="cake-edge export CKPT --out OUT.onnx, which writes opset 20",
    ),
    Rule(
        name="weight-axis",
        severity="float",
        targets=FAMILY,
        find=weight_axes,
        reason="weights have their scales along another axis than the output channels, so the "
        "products of one sum differ in scale, and TensorRT computes them in float",
        remedy=QUANTIZE,
    ),
    Rule(
        name="before-activation",
        severity="slow",
        targets=FAMILY,
        find=before_activations,
        reason="Q and DQ stand between a convolution and its activation, so TensorRT cannot take "
        "the activation into the convolution's kernel",
        remedy=RETARGET,
    ),
    Rule(
        name="quantized-normalization",
        severity="slow",
        targets=FAMILY,
        find=quantized_float_only,
        reason="a normalisation or softmax reads quantized values; it computes in float all the "
        "same, so the conversion costs time, and much accuracy where residual sums reach far",
        remedy=RETARGET,
    ),
    Rule(
        name="float-residual",
        severity="slow",
        targets=FAMILY,
        find=float_residuals,
        reason="the branch that is added to a convolution's output is float, so TensorRT adds it "
        "in a kernel of its own instead of the convolution's",
        remedy=RETARGET,
    ),
    Rule(
        name="quantized-sum",
        severity="slow",
        targets=FAMILY,
        find=quantized_sums,
        reason="a convolution's output is quantized before the sum that follows, so TensorRT adds "
        "in a kernel of its own instead of the convolution's",
        remedy=RETARGET,
    ),
    Rule(
        name="float32-body",
        severity="slow",
        targets=("tensorrt-fp16",),
        find=float32_bodies,
        reason="what is not quantized is float32, and a strongly typed builder computes it so, at "
        "half the speed of float16",
        remedy=RETARGET,
    ),
    Rule(
        name="float32-old-opset",
        severity="slow",
        targets=("tensorrt-fp16",),
        find=old_float32_bodies,
        reason="what is not quantized is float32, half as fast as float16 under a strongly typed "
        f"builder, and quantizing float16 takes opset {HALF_OPSET}",
        remedy=QUANTIZE + ", exported anew by cake-edge export",
    ),
)
