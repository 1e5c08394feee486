"""Rules that hold for every target."""

from __future__ import annotations

import numpy as np
from onnx import NodeProto, TensorProto

from cake_edge.errors import ArtifactError
from exporters.artifact import card_from_metadata
from exporters.lint.finding import Rule
from exporters.lint.graph import Graph, attribute, label

__all__ = [
    "QUANTIZE",
    "RETARGET",
    "RULES",
    "STATIC",
    "WEIGHT_ONLY",
    "dynamic_sizes",
    "narrow_weights",
    "useless_scales",
    "weight_axes",
]

RETARGET = "cake-edge retarget {model} --target {target} --out OUT.onnx"
QUANTIZE = "cake-edge quantize FLOAT.onnx --target {target} --out OUT.onnx, from the float model"
STATIC = ("ort-x86", "ort-x86-novnni", "ort-arm", "tensorrt", "tensorrt-fp16")
"""Targets whose activations are quantized, with ranges found beforehand."""
WEIGHT_ONLY = ("ort-w8", "ort-w4")
"""Targets whose activations stay float."""
OTHER = "the file says of itself that it is for another target, or says it wrongly"


def not_quantized(graph: Graph) -> list[str]:
    """The whole file, where it holds no integer arithmetic."""
    return [] if graph.is_quantized() else ["no QuantizeLinear or DequantizeLinear"]


def other_target(graph: Graph) -> list[str]:
    """What the file's metadata says of its target, where that is another."""
    metadata = {entry.key: entry.value for entry in graph.model.metadata_props}
    try:
        card = card_from_metadata(metadata)
    except ArtifactError as error:
        return [str(error)]
    if card is None or card.target in ("any", graph.target):
        return []
    return [f"made for {card.target}"]


def float_operators(graph: Graph) -> list[str]:
    """Operators with constant weights that read an activation, or a weight, in float."""
    if not graph.is_quantized():
        return []  # one finding says it all
    return [
        label(node)
        for node in graph.weighted()
        if graph.dequantized(node, 0) is None or graph.dequantized(node, 1) is None
    ]


def per_channel_activations(graph: Graph) -> list[str]:
    """Q and DQ of activations with more than one scale."""
    scales = ((node, graph.scale(node)) for node in graph.on_activations())
    return [label(node) for node, scale in scales if scale is not None and scale.size > 1]


def per_tensor_weights(graph: Graph) -> list[str]:
    """Operators whose weights have one scale for all their output channels."""
    found = []
    for node in graph.weighted():
        stored = graph.dequantized(node, 1)
        scale = graph.scale(stored) if stored is not None else None
        if scale is not None and scale.size == 1:
            found.append(label(node))
    return found


def narrow_weights(graph: Graph, *operators: str) -> list[str]:
    """Operators that read quantized activations and weights of 4 bits."""
    found = []
    for node in graph.weighted():
        stored = graph.dequantized(node, 1)
        if (
            node.op_type in operators
            and stored is not None
            and graph.dequantized(node, 0) is not None
            and graph.integer_type(stored) in (TensorProto.INT4, TensorProto.UINT4)
        ):
            found.append(label(node))
    return found


def useless_scales(graph: Graph) -> list[str]:
    """Q and DQ with a scale that is zero, negative, infinite or NaN."""
    found = []
    for node in graph.quantizers():
        scale = graph.scale(node)
        if scale is None:
            continue
        values = scale.astype(np.float32)
        if not (np.isfinite(values) & (values > 0)).all():
            found.append(label(node))
    return found


def weight_axes(graph: Graph) -> list[str]:
    """Operators whose weights have a scale along another axis than that of their outputs."""
    found = []
    for node in graph.weighted():
        stored = graph.dequantized(node, 1)
        scale = graph.scale(stored) if stored is not None else None
        if stored is None or scale is None or scale.size == 1 or attribute(stored, "block_size", 0):
            continue
        rank = (
            len(graph.constants[stored.input[0]].dims) if stored.input[0] in graph.constants else 0
        )
        axis = int(attribute(stored, "axis", 1))
        if rank and axis % rank != _output_axis(node, rank):
            found.append(label(node))
    return found


def _output_axis(node: NodeProto, rank: int) -> int:
    if node.op_type == "Conv":
        return 0
    if node.op_type == "Gemm":
        return 0 if attribute(node, "transB", 0) else 1
    return 1 if node.op_type == "ConvTranspose" else rank - 1


def dynamic_sizes(graph: Graph) -> list[str]:
    """Inputs with a dynamic axis other than the first."""
    found = []
    for port in graph.inputs:
        dims = port.type.tensor_type.shape.dim
        shape = [dim.dim_param or (dim.dim_value if dim.HasField("dim_value") else "?")
                 for dim in dims]  # fmt: skip
        if not all(isinstance(size, int) for size in shape[1:]):
            found.append(f"{port.name} [{', '.join(map(str, shape))}]")
    return found


RULES = (
    Rule(
        name="not-quantized",
        severity="note",
        targets=("",),
        find=not_quantized,
        reason="the file is a float model, so nothing of it runs in integers",
        remedy="cake-edge quantize {model} --target {target} --out OUT.onnx",
    ),
    Rule(
        name="other-target",
        severity="note",
        targets=STATIC,
        find=other_target,
        reason=OTHER,
        remedy=RETARGET + ", or where weights alone are quantized cake-edge quantize",
    ),
    Rule(
        name="other-target",
        severity="note",
        targets=WEIGHT_ONLY,
        find=other_target,
        reason=OTHER,
        remedy=QUANTIZE,
    ),
    Rule(
        name="float-operator",
        severity="float",
        targets=STATIC,
        find=float_operators,
        reason="these operators with weights read an activation or a weight that is not "
        "dequantized just before, so they are computed in float",
        remedy=QUANTIZE + "; where its gate left them in float, that is what accuracy asks for",
    ),
    Rule(
        name="activation-per-channel",
        severity="float",
        targets=STATIC,
        find=per_channel_activations,
        reason="activations have one scale a channel, which no integer kernel can sum over, so "
        "what reads them is computed in float",
        remedy=QUANTIZE,
    ),
    Rule(
        name="weight-per-tensor",
        severity="note",
        targets=STATIC,
        find=per_tensor_weights,
        reason="weights share one scale over all output channels, which costs accuracy (several "
        "points where channels differ much, as behind depthwise convolutions) and saves no time",
        remedy=QUANTIZE,
    ),
)
