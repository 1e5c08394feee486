"""Takes a softmax or a sigmoid off the end of a graph, so that it answers with logits.

The logarithm of a probability that float32 rounded to 0 or 1 has lost what the logit said, and
its gradient with it; the tensor before the softmax has not.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import onnx
from onnx import ModelProto, NodeProto, ValueInfoProto, helper

from cake_edge.onnx_file import default_opset
from cake_edge.teachers.onnx_port import shape_of

__all__ = ["Tail", "cut_tail"]

ENDS = {"Softmax": "softmax", "Sigmoid": "sigmoid"}
PASSING = ("Identity", "Cast", "Dropout", "Flatten", "Reshape", "Squeeze", "Unsqueeze")
"""Leave the values as they are, and change their shape or type at most."""
AXIS_SINCE = 13
"""Opset from which Softmax works along its axis alone; before, over it and all that follow."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tail:
    """A graph whose one output is the logits, and what was taken off."""

    model: ModelProto
    """A copy whose one output is the logits."""
    removed: str | None
    """softmax, sigmoid, or None where nothing stood behind the logits."""


def cut_tail(model: ModelProto, answer: str) -> Tail:
    """Returns `model` with the logits behind the output `answer` as its one output.

    A Softmax along the classes, or a Sigmoid, at the end is left out, also where the answer passes
    through Identity, Cast, Flatten, Reshape or Squeeze afterwards. A LogSoftmax stays: what it
    gives are logits.
    """
    cut = ModelProto()
    cut.CopyFrom(model)
    producers = {name: node for node in cut.graph.node for name in node.output if name}
    path, end = _end_of(producers, answer)
    kind = next(port.type.tensor_type.elem_type for port in cut.graph.output if port.name == answer)
    removed = None
    if end is not None and (end.op_type == "Sigmoid" or _along_classes(cut, end, path, answer)):
        removed = ENDS[end.op_type]
        before = end.input[0]
        if path:
            path[-1].input[0] = before
        else:
            answer = before
    _answer_with(cut, answer, kind)
    return Tail(model=cut, removed=removed)


def _end_of(
    producers: Mapping[str, NodeProto], answer: str
) -> tuple[list[NodeProto], NodeProto | None]:
    """The nodes between an end and the answer, from the answer on; and the end, if there is one."""
    path: list[NodeProto] = []
    node = producers.get(answer)
    while node is not None and node.op_type in PASSING and node.domain in ("", "ai.onnx"):
        if node in path:
            return path, None
        path.append(node)
        node = producers.get(node.input[0]) if node.input else None
    fits = node is not None and node.op_type in ENDS and node.domain in ("", "ai.onnx")
    return path, node if fits and node is not None and node.input else None


def _along_classes(model: ModelProto, end: NodeProto, path: list[NodeProto], answer: str) -> bool:
    """Whether a Softmax makes the classes of each image sum to one."""
    coerced = default_opset(model) < AXIS_SINCE
    axis = next((a.i for a in end.attribute if a.name == "axis"), 1 if coerced else -1)
    if axis == 1:
        return True
    shapeless = all(node.op_type in ("Identity", "Cast", "Dropout") for node in path)
    rank = _rank(model, answer if shapeless else end.input[0])
    return rank is not None and axis + rank == 1


def _rank(model: ModelProto, name: str) -> int | None:
    """How many axes a value has; None where neither the file nor onnx can tell."""
    ports = [*model.graph.output, *model.graph.value_info]
    try:
        graph = onnx.shape_inference.infer_shapes(model).graph
        ports += [*graph.output, *graph.value_info]
    except Exception:  # noqa: BLE001  # a graph it cannot follow, or one above 2 GiB
        pass
    for port in ports:
        shape = shape_of(port) if port.name == name else None
        if shape:
            return len(shape)
    return None


def _answer_with(model: ModelProto, answer: str, kind: int) -> None:
    """Makes `answer`, of element type `kind`, the one output of the graph."""
    outputs = model.graph.output
    port = ValueInfoProto()
    known = next((each for each in outputs if each.name == answer), None)
    port.CopyFrom(known or helper.make_tensor_value_info(answer, kind, None))
    del outputs[:]
    outputs.append(port)
