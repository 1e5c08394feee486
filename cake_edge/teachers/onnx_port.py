"""Which input of a graph takes the images, and which output tells the classes."""

from __future__ import annotations

from collections.abc import Sequence

from onnx import GraphProto, ModelProto, TensorProto, ValueInfoProto

from cake_edge.errors import TeacherError
from cake_edge.teachers.network import Port, port_of

__all__ = ["FLOATS", "answer_name", "image_input", "image_port", "shape_of"]

FLOATS = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE)
NAMES = ("logits", "logit", "output", "probabilities", "probs", "prob", "scores", "predictions")
"""Of several outputs the one of the first of these names is meant."""
LARGEST_IMAGE = 2**26
"""Values of one input: far above any classifier's, far below what fills a machine's memory."""


def image_input(model: ModelProto, what: str) -> ValueInfoProto:
    """Returns the one input of a graph that is not a weight.

    Raises:
        TeacherError: there is none, or several; or it does not take floats.
    """
    weights = {tensor.name for tensor in model.graph.initializer}
    ports = [port for port in model.graph.input if port.name not in weights]
    if len(ports) != 1:
        names = f" ({', '.join(port.name for port in ports[:5])})" if ports else ""
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
    values = 1
    for size in shape:
        values *= size or 1
    if values > LARGEST_IMAGE:
        raise TeacherError(
            f"{what} takes an input of shape {list(shape)}, {values} values; at most "
            f"{LARGEST_IMAGE} are taken for an image"
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
        return str(outputs[0].name)
    fitting = [port for port in outputs if _is_row(shape_of(port))] or outputs
    if len(fitting) == 1:
        return str(fitting[0].name)
    for name in NAMES:
        for port in fitting:
            if port.name.lower() == name:
                return str(port.name)
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


def _named(ports: Sequence[ValueInfoProto]) -> str:
    parts = []
    for port in list(ports)[:6]:
        shape = shape_of(port)
        sizes = f" {[size or '?' for size in shape]}" if shape is not None else ""
        parts.append(f"{port.name}{sizes}")
    return ", ".join(parts) or "none"


def _type_name(kind: int) -> str:
    known: dict[int, str] = {number: name for name, number in TensorProto.DataType.items()}
    return known.get(kind, f"type number {kind}")
