"""Reads the graph out of an ONNX model: nodes and constants, and only what the outputs need."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import onnx
import torch
from onnx import inliner

from cake_edge.errors import TeacherError
from cake_edge.onnx_network.element_types import tensor_from_proto
from cake_edge.onnx_network.node import Node
from cake_edge.onnx_network.operators import OPERATORS
from cake_edge.onnx_network.refusals import UnsupportedOnnx

__all__ = ["NEWEST_OPSET", "OLDEST_OPSET", "ParsedGraph", "parse"]

OLDEST_OPSET = 7
"""The first whose operators broadcast as numpy does."""
NEWEST_OPSET = 28
"""The newest that the operators here were checked against."""

MOST_NODES = 20_000
"""Several times what the largest classifiers have, and some seconds to go through."""

ROUNDING = ("QLinear", "QGemm", "QAttention", "QMoE", "QOrdered", "DynamicQuantize")
ROUNDING_TOO = frozenset(
    {"QuantizeLinear", "DequantizeLinear", "MatMulNBits", "MatMulBnb4", "GatherBlockQuantized"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ParsedGraph:
    """A graph as Python values."""

    nodes: list[Node]
    """In an order in which they can be computed; those that no output needs are left out."""
    constants: dict[str, torch.Tensor]
    """Stored tensors and Constant nodes that are read, by name."""
    inputs: list[str]
    """What has to be given."""
    outputs: list[str]
    """What is computed."""


def parse(model: onnx.ModelProto, outputs: Sequence[str] | None = None) -> ParsedGraph:
    """Reads a model whose structure onnx's checker has found right.

    Args:
        model: with its external data loaded.
        outputs: names of the values to compute, whatever the graph itself gives.

    Raises:
        UnsupportedOnnx: its opset is not known, it is quantized, or it has operators that are
            not known; all of them are named.
        TeacherError: a stored tensor or an attribute cannot be read, or a value comes from
            nowhere.
    """
    _check_names(model.graph)
    if model.functions:
        model = _inlined(model)
    if len(model.graph.node) > MOST_NODES:
        raise UnsupportedOnnx(
            f"the ONNX model has {len(model.graph.node):,} nodes, and at most {MOST_NODES:,} are "
            "followed; export the network without what comes before and after it"
        )
    versions = _versions(model)
    graph = model.graph
    wanted = list(outputs) if outputs is not None else [port.name for port in graph.output]
    needed = _needed(graph.node, wanted)
    stored = {tensor.name: tensor for tensor in graph.initializer}
    _refuse(graph, needed, versions.get("", 0))
    constants: dict[str, torch.Tensor] = {}
    nodes = []
    for proto in needed:
        node = _node(proto, versions)
        if node.key == ("", "Constant"):
            constants[node.outputs[0]] = _constant(node)
        else:
            nodes.append(node)
    read = {name for node in nodes for name in node.inputs} | set(wanted)
    constants |= {name: tensor_from_proto(t) for name, t in stored.items() if name in read}
    inputs = [port.name for port in graph.input if port.name not in stored]
    _check_order(nodes, {*constants, *inputs}, wanted)
    return ParsedGraph(nodes=nodes, constants=constants, inputs=inputs, outputs=wanted)


def _check_names(graph: onnx.GraphProto) -> None:
    """Protobuf hands a name that is no UTF-8 over as bytes."""
    parts = [*graph.node, *graph.input, *graph.output, *graph.initializer]
    names = [part.name for part in parts]
    for node in graph.node:
        names += [node.op_type, node.domain, *node.input, *node.output]
        names += [attribute.name for attribute in node.attribute]
    strange = next((name for name in names if not isinstance(name, str)), None)
    if strange is not None:
        raise TeacherError(f"the ONNX model has the name {strange!r}, which is not text")


def _inlined(model: onnx.ModelProto) -> onnx.ModelProto:
    try:
        return inliner.inline_local_functions(model, convert_version=True)
    except (RuntimeError, ValueError, TypeError) as error:
        raise TeacherError(f"the functions of the ONNX model cannot be inlined: {error}") from error


def _versions(model: onnx.ModelProto) -> dict[str, int]:
    """The version of each domain; ONNX's own has two names."""
    versions = {_domain(each.domain): each.version for each in model.opset_import}
    own = versions.get("", OLDEST_OPSET)
    if not OLDEST_OPSET <= own <= NEWEST_OPSET:
        raise UnsupportedOnnx(
            f"the ONNX model is of opset {own}; opsets {OLDEST_OPSET} to {NEWEST_OPSET} can be "
            "teachers. Export it again, or convert it with onnx.version_converter"
        )
    return versions


def _domain(domain: str) -> str:
    return "" if domain == "ai.onnx" else domain


def _needed(protos: Sequence[onnx.NodeProto], wanted: Iterable[str]) -> list[onnx.NodeProto]:
    """Those nodes that the wanted values depend on, in the order of the graph."""
    asked = set(wanted)
    found = []
    for proto in reversed(protos):
        if asked.intersection(name for name in proto.output if name):
            found.append(proto)
            asked.update(proto.input)
    return found[::-1]


def _refuse(graph: onnx.GraphProto, protos: Sequence[onnx.NodeProto], opset: int) -> None:
    kinds = Counter((_domain(proto.domain), proto.op_type) for proto in protos)
    rounding = {name: count for (_, name), count in kinds.items() if _rounds(name)}
    if rounding:
        raise UnsupportedOnnx(
            f"the ONNX model is quantized ({_counted(rounding)}): rounding has no useful "
            "gradient, so images cannot be made from it. Give the float model that it was made "
            "from"
        )
    known = {*OPERATORS, ("", "Constant")}
    strange = {
        f"{domain}.{name}".lstrip("."): count
        for (domain, name), count in kinds.items()
        if (domain, name) not in known
    }
    if strange:
        raise UnsupportedOnnx(
            f"the ONNX model (opset {opset}) uses operators that cannot be followed here: "
            f"{_counted(strange)}. Export the network alone again, without what comes before and "
            "after it (torch.onnx.export(..., dynamo=True) spells most operators out in simpler "
            "ones), or give the teacher as a checkpoint"
        )
    if graph.sparse_initializer:
        raise UnsupportedOnnx("the ONNX model stores sparse weights; export it with dense ones")


def _rounds(op_type: str) -> bool:
    return op_type.startswith(ROUNDING) or "Integer" in op_type or op_type in ROUNDING_TOO


def _counted(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} x {name}" for name, count in sorted(counts.items()))


def _node(proto: onnx.NodeProto, versions: dict[str, int]) -> Node:
    domain = _domain(proto.domain)
    return Node(
        op_type=proto.op_type,
        domain=domain,
        opset=versions.get(domain, OLDEST_OPSET),
        name=proto.name,
        attributes={each.name: _attribute(each, proto) for each in proto.attribute},
        inputs=tuple(proto.input),
        outputs=tuple(proto.output),
    )


def _attribute(attribute: onnx.AttributeProto, proto: onnx.NodeProto) -> Any:
    try:
        value = onnx.helper.get_attribute_value(attribute)
    except ValueError as error:
        raise TeacherError(
            f"{proto.op_type} has an attribute that is not known: {error}"
        ) from error
    if isinstance(value, onnx.TensorProto):
        return tensor_from_proto(value)
    if isinstance(value, bytes):
        return value.decode("utf-8", errors="replace")
    if isinstance(value, (int, float)):
        return value
    if attribute.type in (onnx.AttributeProto.INTS, onnx.AttributeProto.FLOATS):
        return list(value)
    raise UnsupportedOnnx(
        f"{proto.op_type} has an attribute {attribute.name!r} that holds neither numbers, text "
        "nor a tensor"
    )


def _constant(node: Node) -> torch.Tensor:
    for name, value in node.attributes.items():
        if name == "value":
            return value  # type: ignore[no-any-return]  # the checker has seen that it is one
        if name in ("value_int", "value_ints"):
            return torch.tensor(value, dtype=torch.int64)
        if name in ("value_float", "value_floats"):
            return torch.tensor(value, dtype=torch.float32)
    raise UnsupportedOnnx(f"{node} holds {', '.join(node.attributes) or 'nothing'}, not a tensor")


def _check_order(nodes: Sequence[Node], known: set[str], wanted: Sequence[str]) -> None:
    for node in nodes:
        lost = [name for name in node.inputs if name and name not in known]
        if lost:
            raise TeacherError(
                f"{node} of the ONNX model reads {lost[0]!r}, which nothing before it gives; the "
                "file is damaged, or its nodes are out of order"
            )
        known.update(node.outputs)
    lost = [name for name in wanted if name not in known]
    if lost:
        raise TeacherError(f"the ONNX model has no value {lost[0]!r} to give as its output")
