"""Which input of a graph takes the images, and which output tells the classes."""

from __future__ import annotations

import math
from collections.abc import Sequence

from onnx import GraphProto, ModelProto, TensorProto, ValueInfoProto

from cake_edge.errors import TeacherError
from cake_edge.teachers.network import Port, port_of

__all__ = ["FLOATS", "answer_name", "image_input", "image_port", "shape_of"]

FLOATS = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE)
NAMES = ("logits", "logit", "output", "probabilities", "probs", "prob", "scores", "predictions")
"""Of several outputs the one of the first of these names is meant."""
LARGEST_SIDE = 2**13
"""Rows, columns or channels of an image: above any classifier's."""
LARGEST_BATCH = 2**10
"""Images that a file may want at a time."""
LARGEST_INPUT = 2**25
"""Values of all images that are shown at once; as many images are probed, checked and kept."""


def image_input(model: ModelProto, what: str) -> ValueInfoProto:
    """Returns the one input of a graph that is not a weight.

    Raises:
        TeacherError: there is none, or several; or it does not take floats.
    """
    weights = {tensor.name for tensor in model.graph.initializer}
    ports = [port for port in model.graph.input if port.name not in weights]
    if len(ports) != 1:
        names = f" ({_named(ports)})" if ports else ""
        raise TeacherError(
            f"{what} has {len(ports)} inputs{names}; a classifier of images has one. Cut it down "
            "to the part from the images to the logits, with onnx.utils.extract_model"
        )
    port: ValueInfoProto = ports[0]
    if not port.type.HasField("tensor_type"):
        raise TeacherError(f"{what} takes {port.name!r}, which is no tensor; images are one")
    kind = port.type.tensor_type.elem_type
    if kind not in FLOATS:
        raise TeacherError(
            f"{what} takes {port.name!r} as {_type_name(kind)}; images are taken as FLOAT, FLOAT16 "
            "or DOUBLE, since no gradient reaches whole numbers. Cut the model at its first float "
            "tensor with onnx.utils.extract_model, and say what pixels become by then with --mean, "
            "--std and --value-range"
        )
    return port


def image_port(port: ValueInfoProto, what: str) -> Port:
    """Returns how the images of an input lie.

    Raises:
        TeacherError: it does not take images, or absurdly large ones.
    """
    shape = shape_of(port) or ()
    found = port_of(shape, what)
    sizes = [size or 1 for size in shape]
    most = (LARGEST_BATCH, *[LARGEST_SIDE] * 3)
    if math.prod(sizes) > LARGEST_INPUT or any(a > b for a, b in zip(sizes, most, strict=True)):
        raise TeacherError(
            f"{what} takes an input of shape {[size or '?' for size in shape]}; taken for images "
            f"are at most {list(most)}, and {LARGEST_INPUT} values in all"
        )
    return found


def answer_name(model: ModelProto, what: str) -> str:
    """Returns the name of the output that holds one number a class.

    Raises:
        TeacherError: no output does, or several do and none has a name that says so.
    """
    _refuse_maps(model.graph, what)
    outputs = [port for port in model.graph.output if _is_float(port)]
    if not outputs:
        raise TeacherError(
            f"{what} has no output of floats ({_named(model.graph.output)}); a classifier that can "
            "be learnt from gives logits or probabilities, not only the class it decides for"
        )
    if len(model.graph.output) == 1:
        return _name(outputs[0])
    fitting = [port for port in outputs if _is_row(shape_of(port))] or outputs
    if len(fitting) == 1:
        return _name(fitting[0])
    for name in NAMES:
        for port in fitting:
            if _name(port).lower() == name:
                return _name(port)
    raise TeacherError(
        f"{what} has {len(fitting)} outputs that may be its logits: {_named(fitting)}; keep one of "
        "them with onnx.utils.extract_model"
    )


def shape_of(port: ValueInfoProto) -> tuple[int | None, ...] | None:
    """Returns the sizes that a graph declares, None for a free one; None where it declares none."""
    tensor = port.type.tensor_type
    if not tensor.HasField("shape"):
        return None
    # PaddlePaddle writes -1 for a free size, where ONNX wants a name or nothing.
    return tuple(dim.dim_value if dim.dim_value > 0 else None for dim in tensor.shape.dim)


def _is_float(port: ValueInfoProto) -> bool:
    return port.type.HasField("tensor_type") and port.type.tensor_type.elem_type in FLOATS


def _is_row(shape: tuple[int | None, ...] | None) -> bool:
    """Whether it is [N, classes], ones after them aside."""
    return shape is not None and len(shape) >= 2 and all(size == 1 for size in shape[2:])


def _refuse_maps(graph: GraphProto, what: str) -> None:
    """Refuses an answer as a list of {class: probability}, and says which tensor is in it."""
    plain = [port for port in graph.output if port.type.HasField("tensor_type")]
    if any(_is_float(port) for port in plain) or len(plain) == len(graph.output):
        return
    maps = next((node for node in graph.node if node.op_type == "ZipMap"), None)
    inside = f"; the tensor {maps.input[0]!r} is what it is made from" if maps else ""
    raise TeacherError(
        f"{what} answers with a sequence or a map ({_named(graph.output)}), not with a tensor"
        f"{inside}. Cut the model there with onnx.utils.extract_model, or export it without ZipMap"
    )


def _name(port: ValueInfoProto) -> str:
    name: str = port.name
    return name


def _named(ports: Sequence[ValueInfoProto]) -> str:
    parts = []
    for port in list(ports)[:6]:
        shape = shape_of(port)
        sizes = f" {[size or '?' for size in shape]}" if shape is not None else ""
        name = _name(port)
        parts.append(f"{name if name.isprintable() else repr(name)}{sizes}")
    return ", ".join(parts) or "none"


def _type_name(kind: int) -> str:
    known: dict[int, str] = {number: name for name, number in TensorProto.DataType.items()}
    return known.get(kind, f"type number {kind}")
