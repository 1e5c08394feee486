"""What an ONNX file says of itself, read without the onnx package: a board has a runtime, not that.

An ONNX file is a protobuf message: fields of a number and a kind, where messages, text and raw
weights are all "a length and so many bytes". Weights are skipped by their length, so a large file
costs no more than a small one. Field numbers are those of onnx.proto (ONNX 1.17).
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cake_edge.errors import ArtifactError
from cake_edge.provenance import sha256_file, sha256_json

__all__ = ["OnnxHeader", "OnnxInput", "read_header"]

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
MODEL_GRAPH, MODEL_METADATA = 7, 14
GRAPH_NODE, GRAPH_INITIALIZER, GRAPH_INPUT = 1, 5, 11
NODE_OPERATOR, NODE_ATTRIBUTE = 4, 5
ATTRIBUTE_TENSORS, ATTRIBUTE_GRAPHS = (5, 10), (6, 11)
TENSOR_TYPE, TENSOR_NAME, TENSOR_EXTERNAL = 2, 8, 13
FLOAT16 = 10
DEEPEST = 16

Span = tuple[int, int]
"""Where a message lies in the file: first byte, and the one behind its last."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OnnxInput:
    """An input of the network."""

    name: str
    shape: tuple[int | str, ...]
    """A name where any size will do, empty if it has none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OnnxHeader:
    """What is read of an ONNX file."""

    sha256: str
    """Of the file; and, where weights lie beside it, of the file and all of theirs."""
    external: tuple[str, ...]
    """The files with weights beside it, sorted."""
    metadata: dict[str, str]
    """`metadata_props`."""
    inputs: tuple[OnnxInput, ...]
    """Without those that have a stored value."""
    operators: frozenset[str]
    """Kinds of its nodes, those inside control flow too."""
    half: bool
    """Whether it stores weights in float16."""

    @property
    def quantized(self) -> bool:
        """Whether it asks for integers."""
        return not self.operators.isdisjoint(("QuantizeLinear", "DequantizeLinear"))


def read_header(path: Path) -> OnnxHeader:
    """Reads an ONNX file's own account, and hashes it with the weights beside it.

    Raises:
        ArtifactError: the file is missing, or no ONNX; or weights beside it are missing, or
            outside its folder.
    """
    if not path.is_file():
        raise ArtifactError(f"{path} does not exist or is not a file; name an ONNX file")
    try:
        with (
            path.open("rb") as stream,
            mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content,
        ):
            found = _Reading(content)
    except (ValueError, IndexError, UnicodeDecodeError) as error:
        raise ArtifactError(f"{path} is not a readable ONNX model: {error}") from error
    if not found.operators:
        raise ArtifactError(f"{path} is not a readable ONNX model: it holds no graph")
    external = sorted(found.external)
    return OnnxHeader(
        sha256=_hash(path, external),
        external=tuple(external),
        metadata=found.metadata,
        inputs=tuple(each for each in found.inputs if each.name not in found.stored),
        operators=frozenset(found.operators),
        half=found.half,
    )


def _hash(path: Path, external: list[str]) -> str:
    if not external:
        return sha256_file(path)
    folder = path.parent.resolve()
    hashes = []
    for location in external:
        place = (folder / location).resolve()
        if not place.is_relative_to(folder) or not place.is_file():
            raise ArtifactError(
                f"{path}: weights are said to be in {location!r}, which is not a file in the "
                "model's folder; copy it there, or export the model again as one file"
            )
        hashes.append([location, sha256_file(place)])
    return sha256_json([sha256_file(path), *hashes])


class _Reading:
    """What has been found so far of the file's content."""

    def __init__(self, content: mmap.mmap) -> None:
        self.metadata: dict[str, str] = {}
        self.inputs: list[OnnxInput] = []
        self.stored: set[str] = set()
        self.external: set[str] = set()
        self.operators: set[str] = set()
        self.half = False
        self._content = content
        for number, span in self._messages((0, len(content)), MODEL_GRAPH, MODEL_METADATA):
            if number == MODEL_GRAPH:
                self._graph(span, 0)
            else:
                key, value = self._pair(span)
                self.metadata[key] = value

    def _messages(self, span: Span, *numbers: int) -> Iterator[tuple[int, Span]]:
        for number, value in _fields(self._content, span):
            if number in numbers and isinstance(value, tuple):
                yield number, value

    def _text(self, span: Span) -> str:
        return self._content[slice(*span)].decode("utf-8")

    def _graph(self, span: Span, depth: int) -> None:
        if depth > DEEPEST:
            raise ValueError(f"graphs lie more than {DEEPEST} deep in each other")
        parts = (GRAPH_NODE, GRAPH_INITIALIZER, GRAPH_INPUT)
        for number, message in self._messages(span, *parts):
            if number == GRAPH_NODE:
                self._node(message, depth)
            elif number == GRAPH_INITIALIZER:
                self.stored.add(self._tensor(message))
            elif depth == 0:
                self.inputs.append(self._input(message))

    def _node(self, span: Span, depth: int) -> None:
        for number, message in self._messages(span, NODE_OPERATOR, NODE_ATTRIBUTE):
            if number == NODE_OPERATOR:
                self.operators.add(self._text(message))
                continue
            for kind, inner in self._messages(message, *ATTRIBUTE_TENSORS, *ATTRIBUTE_GRAPHS):
                if kind in ATTRIBUTE_TENSORS:
                    self._tensor(inner)
                else:
                    self._graph(inner, depth + 1)

    def _tensor(self, span: Span) -> str:
        """Notes what a stored tensor is; returns its name."""
        name = ""
        for number, value in _fields(self._content, span):
            if number == TENSOR_TYPE:
                self.half = self.half or value == FLOAT16
            elif number == TENSOR_NAME and isinstance(value, tuple):
                name = self._text(value)
            elif number == TENSOR_EXTERNAL and isinstance(value, tuple):
                key, text = self._pair(value)
                if key == "location":
                    self.external.add(text)
        return name

    def _pair(self, span: Span) -> tuple[str, str]:
        """StringStringEntryProto: key = 1, value = 2."""
        found = {number: self._text(text) for number, text in self._messages(span, 1, 2)}
        return found.get(1, ""), found.get(2, "")

    def _input(self, span: Span) -> OnnxInput:
        """ValueInfoProto: name = 1, type = 2, in it tensor_type = 1, shape = 2, dim = 1."""
        name, shape = "", list[int | str]()
        for number, message in self._messages(span, 1, 2):
            if number == 1:
                name = self._text(message)
                continue
            for _, tensor in self._messages(message, 1):
                for _, sizes in self._messages(tensor, 2):
                    shape.extend(self._size(size) for _, size in self._messages(sizes, 1))
        return OnnxInput(name=name, shape=tuple(shape))

    def _size(self, span: Span) -> int | str:
        """Dimension: dim_value = 1, dim_param = 2."""
        size: int | str = ""
        for number, value in _fields(self._content, span):
            if number == 1 and isinstance(value, int):
                size = value
            elif number == 2 and isinstance(value, tuple):
                size = self._text(value)
        return size


def _fields(content: mmap.mmap, span: Span) -> Iterator[tuple[int, int | Span]]:
    """The fields of a message by number: a whole number, or where its bytes lie.

    Raises:
        ValueError: this is no message.
    """
    position, end = span
    while position < end:
        key, position = _varint(content, position)
        number, kind = key >> 3, key & 7
        value: int | Span = 0
        if kind == VARINT:
            value, position = _varint(content, position)
        elif kind == BYTES:
            size, position = _varint(content, position)
            value = (position, position + size)
            position += size
        elif kind in (FIXED64, FIXED32):
            position += 8 if kind == FIXED64 else 4
        else:
            raise ValueError(f"it has a field of kind {kind}, which protobuf does not write")
        if position > end or number == 0:
            raise ValueError("it is cut short")
        yield number, value


def _varint(content: mmap.mmap, position: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        byte = content[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
    raise ValueError("it holds a number of more than ten bytes")
