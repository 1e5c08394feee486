"""Takes a file with QuantizeLinear and DequantizeLinear back to the float graph it stands for.

Weights become what their integers stand for, so rounding them again gives the same integers.
Activations lose their Q and DQ, and tensors have the names back that they had before these went in,
as ONNX Runtime's quantizer names what it adds after what was there.
Activation functions that zero points stood for are put back (see `removed`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import onnx
from onnx import numpy_helper

from cake_edge.errors import ArtifactError
from exporters.quantize.graph import drop_unused, name_nodes
from exporters.quantize.ranges import Range, TensorRanges
from exporters.quantize.removed import likely_activations, put_back
from exporters.quantize.stored import Weight, stored_weights
from exporters.quantize.widen import widened

__all__ = ["Unquantized", "unquantize"]

INPUT = "_QuantizeLinear_Input"


@dataclass(frozen=True, slots=True, kw_only=True)
class Unquantized:
    """A float graph, and what was known of it in integers."""

    model: onnx.ModelProto
    """All float32, its types known."""
    weights: Mapping[str, Weight]
    """The constants that were integers, by name."""
    ranges: Mapping[str, TensorRanges]
    """What the integers of each activation covered."""
    restored: tuple[str, ...]
    """Names of the activation functions that were put back."""


def unquantize(
    quantized: onnx.ModelProto, removed: Iterable[Mapping[str, Any]] | None = None
) -> Unquantized:
    """Returns the float graph behind a file with Q and DQ; `quantized` is left as it is.

    Args:
        removed: what `removed_activations` said as the file was written; None where nobody knows.

    Raises:
        ArtifactError: a Q or DQ stands where it cannot be taken out.
    """
    model = widened(quantized)
    graph = model.graph
    _store_constants(graph)
    weights = stored_weights(model)
    ranges = _covered(model)
    _constants_to_float(model, weights)
    _take_out_pairs(model)
    restored = put_back(model, likely_activations(model, ranges) if removed is None else removed)
    drop_unused(graph)
    name_nodes(graph)
    del graph.value_info[:]
    onnx.checker.check_model(model)
    return Unquantized(
        model=onnx.shape_inference.infer_shapes(model),
        weights={weight.name: weight for weight in weights.values()},
        ranges=ranges,
        restored=restored,
    )


def _store_constants(graph: onnx.GraphProto) -> None:
    """Makes initialisers of Constant nodes, which hold the scales in files of some tools."""
    for node in [node for node in graph.node if node.op_type == "Constant"]:
        value = next((item.t for item in node.attribute if item.name == "value"), None)
        if value is not None:
            graph.initializer.add().CopyFrom(value)
            graph.initializer[-1].name = node.output[0]
            graph.node.remove(node)


def _covered(model: onnx.ModelProto) -> dict[str, TensorRanges]:
    """By tensor the range that its integers cover; without a zero point, its farther end."""
    constants = {weight.name: weight for weight in model.graph.initializer}
    found = {}
    for node in model.graph.node:
        if node.op_type != "QuantizeLinear" or node.input[0] in constants:
            continue
        low, high = _reach(node, constants)
        far = max(-low, high)
        found[node.input[0].removesuffix(INPUT)] = TensorRanges(
            asymmetric=Range(low, high, "file"), symmetric=Range(-far, far, "file")
        )
    return found


def _reach(node: onnx.NodeProto, constants: Mapping[str, onnx.TensorProto]) -> tuple[float, float]:
    """Values of the lowest and the highest level of a QuantizeLinear on an activation."""
    if any(name and name not in constants for name in node.input[1:]):
        raise ArtifactError(
            f"the scale of {node.name or node.output[0]} is computed and not stored; "
            "quantize the float model for the other target"
        )
    scale = numpy_helper.to_array(constants[node.input[1]])
    if scale.size != 1:
        raise ArtifactError(
            f"the activation {node.input[0]} has {scale.size} scales; a target takes one. "
            "Quantize the float model for it"
        )
    kind, zero = int(onnx.TensorProto.UINT8), 0
    if len(node.input) > 2 and node.input[2]:
        kind = constants[node.input[2]].data_type
        zero = int(numpy_helper.to_array(constants[node.input[2]]).reshape(()))
    if kind not in (onnx.TensorProto.UINT8, onnx.TensorProto.INT8):
        said = onnx.TensorProto.DataType.Name(kind)
        raise ArtifactError(
            f"the activation {node.input[0]} is quantized to {said}, which no target here takes; "
            "quantize the float model"
        )
    # A signed byte without a zero point is written by its 127 levels on either side.
    lowest = 0 if kind == onnx.TensorProto.UINT8 else (-127 if zero == 0 else -128)
    highest = 255 if kind == onnx.TensorProto.UINT8 else 127
    step = float(scale.reshape(()))
    return (lowest - zero) * step, (highest - zero) * step


def _constants_to_float(model: onnx.ModelProto, weights: Mapping[str, Weight]) -> None:
    """Replaces integer constants, and DQ on them, by float constants; Q on a constant goes."""
    graph = model.graph
    renamed = {output: weight.name for output, weight in weights.items()}
    taken = {weight.name for weight in graph.initializer}
    for weight in {one.name: one for one in weights.values()}.values():
        if weight.name in taken and weight.name != weight.stored:
            raise ArtifactError(f"the file holds {weight.name} in float beside {weight.stored}")
        graph.initializer.append(numpy_helper.from_array(weight.values(), weight.name))
    stored = {weight.stored for weight in weights.values()}
    kept = [
        weight
        for weight in graph.initializer
        if weight.name not in stored or weight.data_type == onnx.TensorProto.FLOAT
    ]
    del graph.initializer[:]
    graph.initializer.extend(kept)
    _remove_nodes(graph, renamed)


def _take_out_pairs(model: onnx.ModelProto) -> None:
    """Leads what reads a DequantizeLinear to what its QuantizeLinear reads."""
    graph = model.graph
    outputs = {port.name for port in graph.output}
    quantizers = {node.output[0]: node for node in graph.node if node.op_type == "QuantizeLinear"}
    renamed = {}
    for node in graph.node:
        integer = [name for name in node.input if name in quantizers]
        if node.op_type != "DequantizeLinear" and integer:
            raise ArtifactError(
                f"{node.op_type} {node.name or node.output[0]} computes with the integers of "
                f"{integer[0]}; only files with a DequantizeLinear behind each QuantizeLinear "
                "can change their target. Quantize the float model"
            )
        if node.op_type == "DequantizeLinear":
            if node.input[0] not in quantizers:
                raise ArtifactError(
                    f"DequantizeLinear {node.name or node.output[0]} reads integers that no "
                    "QuantizeLinear makes; quantize the float model"
                )
            renamed[node.output[0]] = quantizers[node.input[0]].input[0]
    _remove_nodes(graph, renamed)
    nodes = [node for node in graph.node if node.op_type != "QuantizeLinear"]
    del graph.node[:]
    graph.node.extend(nodes)
    # An output of the model keeps its name; what made it before Q and DQ takes that name on.
    back = {_resolved(name, renamed): name for name in outputs & set(renamed)}
    for node in graph.node:
        for names in (node.input, node.output):
            for place, name in enumerate(names):
                names[place] = back.get(name, name)


def _remove_nodes(graph: onnx.GraphProto, renamed: Mapping[str, str]) -> None:
    """Takes out the nodes that make the keys; what reads a key reads its value."""
    nodes = [node for node in graph.node if not renamed.keys() & set(node.output)]
    del graph.node[:]
    graph.node.extend(nodes)
    for node in graph.node:
        for place, name in enumerate(node.input):
            node.input[place] = _resolved(name, renamed)


def _resolved(name: str, renamed: Mapping[str, str]) -> str:
    # A bias keeps its name behind DequantizeLinear.
    while renamed.get(name, name) != name:
        name = renamed[name]
    return name
