"""Reads ONNX files, and refuses those that are not what they should be.

A file comes from anywhere. Weights may lie beside it ("external data"): a name that leads out of
the model's folder would read, and carry on into what we write, a file that nobody meant to share.
onnx checks part of this when it loads; here it is checked before a byte of it is read.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath, PureWindowsPath

import onnx
from onnx.external_data_helper import load_external_data_for_model

from cake_edge.errors import ArtifactError
from cake_edge.memory import check_memory

__all__ = ["LARGEST_BYTES", "OLDEST_OPSET", "check_image_input", "default_opset", "read_model"]

LARGEST_BYTES = 2**31 - 1
"""Protobuf, and so an ONNX model in one piece, goes no further."""
OLDEST_OPSET = 13
"""The first whose QuantizeLinear knows a scale for each channel."""


def read_model(path: Path, *, oldest: int = OLDEST_OPSET) -> onnx.ModelProto:
    """Reads an ONNX file with all its weights, wherever in its folder they lie.

    Args:
        path: the file.
        oldest: the lowest opset that the caller can work with.

    Raises:
        ArtifactError: it is missing, not ONNX, of an opset that is not known, too large, or its
            external data is missing, cut short, or outside the model's folder.
    """
    if not path.is_file():
        raise ArtifactError(f"{path} does not exist or is not a file; name an ONNX file")
    _check_size(path, path.stat().st_size)
    model = _parsed(path)
    _check_opset(model, path, oldest)
    outside = [tensor for tensor in _tensors(model) if _is_external(tensor)]
    for tensor in outside:
        _check_external(tensor, path)
    _check_size(path, path.stat().st_size + sum(map(_stored_bytes, outside)))
    check_memory(path, sum(map(_declared_bytes, _tensors(model))), ArtifactError)
    try:
        if outside:
            load_external_data_for_model(model, str(path.parent))
        onnx.checker.check_model(model)
    except Exception as error:  # both raise more than the checker's own ValidationError
        raise _unreadable(path, error) from error
    return model


def check_image_input(model: onnx.ModelProto, what: str) -> None:
    """Refuses a model that does not take one batch of images of one size.

    Args:
        what: how an error message names the model.

    Raises:
        ArtifactError: no input or several; not float; not [batch, C, H, W]; or C, H or W not
            fixed.
    """
    constants = {tensor.name for tensor in model.graph.initializer}
    ports = [port for port in model.graph.input if port.name not in constants]
    if len(ports) != 1:
        names = f" ({', '.join(port.name for port in ports)})" if ports else ""
        raise ArtifactError(
            f"{what} has {len(ports)} inputs{names}; a classifier of images has one"
        )
    port = ports[0].type.tensor_type
    kind = onnx.TensorProto.DataType.Name(port.elem_type)
    shape = [dim.dim_value or dim.dim_param or "?" for dim in port.shape.dim]
    if port.elem_type not in (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16) or len(shape) != 4:
        raise ArtifactError(
            f"{what} takes {kind} of shape {shape}; a classifier of images takes FLOAT of shape "
            "[batch, C, H, W]"
        )
    if not all(isinstance(size, int) for size in shape[1:]):
        raise ArtifactError(
            f"{what} takes images of shape {shape[1:]}, not all of them fixed; export it for one "
            "size of image, with a dynamic batch alone"
        )


def default_opset(model: onnx.ModelProto) -> int:
    """Returns the version of the standard operators that a model asks for, or 0."""
    return next((each.version for each in model.opset_import if each.domain in ("", "ai.onnx")), 0)


def _check_size(path: Path, size: int) -> None:
    if size > LARGEST_BYTES:
        raise ArtifactError(
            f"{path} is {size / 2**30:.1f} GiB with its weights; an ONNX model that can be worked "
            "on is at most 2 GiB"
        )


def _parsed(path: Path) -> onnx.ModelProto:
    try:
        model = onnx.load(path, load_external_data=False)
    except Exception as error:  # protobuf keeps its own error to itself
        raise _unreadable(path, error) from error
    # Any bytes may happen to be valid protobuf, and none at all always are.
    if not model.HasField("graph") or not model.graph.node:
        raise ArtifactError(f"{path} is not a readable ONNX model: it holds no graph")
    return model


def _unreadable(path: Path, error: Exception) -> ArtifactError:
    reason = (str(error).strip() or type(error).__name__).partition("\n")[0]
    return ArtifactError(f"{path} is not a readable ONNX model: {reason}")


def _check_opset(model: onnx.ModelProto, path: Path, oldest: int) -> None:
    version, newest = default_opset(model), onnx.defs.onnx_opset_version()
    if not oldest <= version <= newest:
        raise ArtifactError(
            f"{path} is of opset {version or 'none'}; opsets {oldest} to {newest} are known "
            f"here (onnx {onnx.__version__}). Export it again, or convert it with "
            "onnx.version_converter"
        )


def _tensors(model: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    """Every stored tensor: weights, those in attributes, and those of graphs inside nodes."""
    yield from _graph_tensors(model.graph)
    for function in model.functions:
        yield from _attribute_tensors(function.node)


def _graph_tensors(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    yield from _attribute_tensors(graph.node)


def _attribute_tensors(nodes: Iterable[onnx.NodeProto]) -> Iterator[onnx.TensorProto]:
    for node in nodes:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors
            inner = [attribute.g] if attribute.HasField("g") else []
            for each in [*inner, *attribute.graphs]:
                yield from _graph_tensors(each)


def _is_external(tensor: onnx.TensorProto) -> bool:
    return tensor.data_location == onnx.TensorProto.EXTERNAL


def _check_external(tensor: onnx.TensorProto, path: Path) -> None:
    """Refuses external data that is not a whole stretch of a file in the model's folder."""
    what = f"{path}: the weight {tensor.name}"
    stated = {entry.key: entry.value for entry in tensor.external_data}
    place = _inside(path.parent, stated.get("location", ""), what)
    if not _is_file(place):
        raise ArtifactError(
            f"{what} is in {place.name}, which is not in the model's folder; copy that file "
            "beside the model, or export it again as one file"
        )
    try:
        offset, length = int(stated.get("offset") or 0), _stored_bytes(tensor)
    except (KeyError, ValueError) as error:
        raise ArtifactError(f"{what} names its external data wrongly: {error}") from error
    size = place.stat().st_size
    if offset < 0 or length < 0 or offset + length > size:
        raise ArtifactError(
            f"{what} is at bytes {offset} to {offset + length} of {place.name}, which has {size}; "
            "copy the whole file, or export the model again"
        )


def _inside(folder: Path, location: str, what: str) -> Path:
    """The file that `location` names, which must not lead out of `folder`, by links neither."""
    ways = (PurePosixPath(location), PureWindowsPath(location))
    plain = location and "\0" not in location
    try:
        place = (folder / location).resolve() if plain else folder
    except (OSError, RuntimeError) as error:  # the latter of a link to itself
        raise ArtifactError(f"{what} is in a file that cannot be opened: {error}") from error
    if (
        not plain
        or any(way.is_absolute() or ".." in way.parts for way in ways)
        or not place.is_relative_to(folder.resolve())
    ):
        raise ArtifactError(
            f"{what} is said to be in {location!r}, outside the model's folder; that is not read. "
            "Export the model again as one file, or with its weights beside it"
        )
    return place


def _is_file(place: Path) -> bool:
    try:
        return place.is_file()
    except OSError:  # a name that is longer than a file system takes
        return False


def _declared_bytes(tensor: onnx.TensorProto) -> int:
    """Bytes that its sizes ask for; of a type or a size that there is not, none."""
    count = 1
    for size in tensor.dims:
        count *= max(size, 0)
    try:
        return count * int(onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize)
    except (KeyError, ValueError):
        return 0


def _stored_bytes(tensor: onnx.TensorProto) -> int:
    """Bytes of its external data: as said, or to be expected of its shape and type."""
    stated = next((each.value for each in tensor.external_data if each.key == "length"), "")
    if stated:
        return int(stated)
    count = 1
    for size in tensor.dims:
        count *= size
    kind = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type)
    return count * kind.itemsize
