"""Damages files: bytes anywhere, and values inside JSON, zip archives and ONNX graphs.

Everything is drawn from the generator that is given, so that a case can be made again alone.
"""

from __future__ import annotations

import copy
import io
import json
import math
import struct
import zipfile
from collections.abc import Callable
from random import Random
from typing import Any

import onnx

__all__ = [
    "Damage",
    "damage_bytes",
    "damage_json",
    "damage_onnx",
    "damage_safetensors",
    "damage_zip",
    "rezipped",
    "with_header",
]

Damage = Callable[[bytes, Random], bytes]
"""Gives the damaged form of a valid file."""

NUMBERS = (0, -1, 1, 7, 255, 2**31 - 1, 2**31, 2**40, 2**62, 2**63, -(2**63), 2**64, 10**40)
ODD: tuple[Any, ...] = (
    None, True, "", "\0", "a\nb", "../x", "/", "é" * 9, "x" * 3000, [], {}, [[]], {"": 0}, 0.5,
    math.nan, math.inf, -1e308, *NUMBERS,
)  # fmt: skip
DEEP = 4000


def damage_bytes(data: bytes, random: Random) -> bytes:
    """Cuts off, flips, takes out, puts in, repeats or swaps; more often near both ends."""
    kinds = (_cut, _flip, _flip, _flip, _take_out, _put_in, _repeat, _swap, _overwrite)
    return random.choice(kinds)(data, random)


def _place(data: bytes, random: Random) -> int:
    """An offset; half of the time near the beginning or the end, where formats keep structure."""
    if not data:
        return 0
    if random.random() < 0.5:
        return random.randrange(len(data))
    near = min(len(data) - 1, int(math.exp(random.random() * math.log(len(data)))) - 1)
    return near if random.random() < 0.6 else len(data) - 1 - near


def _cut(data: bytes, random: Random) -> bytes:
    return data[: _place(data, random)]


def _flip(data: bytes, random: Random) -> bytes:
    changed = bytearray(data)
    for _ in range(random.choice((1, 1, 2, 4, 16))):
        if changed:
            changed[_place(data, random)] ^= 1 << random.randrange(8)
    return bytes(changed)


def _take_out(data: bytes, random: Random) -> bytes:
    at = _place(data, random)
    return data[:at] + data[at + random.choice((1, 2, 8, 64, 700)) :]


def _put_in(data: bytes, random: Random) -> bytes:
    at = _place(data, random)
    return data[:at] + random.randbytes(random.choice((1, 2, 8, 64, 700))) + data[at:]


def _repeat(data: bytes, random: Random) -> bytes:
    at, length = _place(data, random), random.choice((1, 8, 64, 700))
    return data[: at + length] + data[at:]


def _swap(data: bytes, random: Random) -> bytes:
    length = random.choice((1, 8, 64))
    a, b = sorted((_place(data, random), _place(data, random)))
    b = max(b, a + length)
    return (
        data[:a]
        + data[b : b + length]
        + data[a + length : b]
        + data[a : a + length]
        + data[b + length :]
    )


def _overwrite(data: bytes, random: Random) -> bytes:
    at, fill = _place(data, random), random.choice((b"\0", b"\xff", b"\x80", b"{", b"9"))
    length = random.choice((1, 4, 8, 32))
    return data[:at] + fill * length + data[at + length :]


def damage_json(text: bytes, random: Random) -> bytes:
    """Changes values and keys of a JSON document; now and then its text."""
    if random.random() < 0.25:
        return damage_bytes(text, random)
    if random.random() < 0.04:
        return b"[" * DEEP + b"]" * DEEP
    value = json.loads(text)
    for _ in range(random.choice((1, 1, 2, 5))):
        value = _changed(value, random)
    written = json.dumps(value)
    if random.random() < 0.05:
        written = written.replace("{", '{"format": 1, "format": 2, ', 1)
    return written.encode()


def _changed(value: Any, random: Random) -> Any:
    """The document with one of its values replaced, lost, renamed or repeated."""
    holders = [value, *_holders(value)] if isinstance(value, (dict, list)) else []
    holders = [each for each in holders if each]
    if not holders:
        return random.choice(ODD)
    holder = random.choice(holders)
    key = random.choice(list(holder) if isinstance(holder, dict) else range(len(holder)))
    what = random.random()
    if what < 0.15:
        del holder[key]
    elif what < 0.25 and isinstance(holder, list):
        holder.extend(copy.deepcopy(holder))
    elif what < 0.25:
        holder[f"{key}."] = holder.pop(key)
    elif what < 0.4 and type(holder[key]) is int:
        holder[key] = random.choice((*NUMBERS, holder[key] + 1, -holder[key], holder[key] * 1000))
    else:
        holder[key] = copy.deepcopy(random.choice(ODD))
    return value


def _holders(value: Any) -> list[Any]:
    inner = list(value.values()) if isinstance(value, dict) else list(value)
    found = []
    for each in inner:
        if isinstance(each, (dict, list)):
            found += [each, *_holders(each)]
    return found


def with_header(header: bytes, tensors: bytes) -> bytes:
    """A safetensors file of this header and these bytes."""
    return struct.pack("<Q", len(header)) + header + tensors


def damage_safetensors(data: bytes, random: Random) -> bytes:
    """Changes the header, in its JSON or in the JSON that its metadata hold."""
    (length,) = struct.unpack("<Q", data[:8])
    header, tensors = json.loads(data[8 : 8 + length]), data[8 + length :]
    metadata = header.get("__metadata__")
    if metadata and random.random() < 0.6:
        key = random.choice(list(metadata))
        changed = damage_json(metadata[key].encode(), random)
        metadata[key] = changed.decode("utf-8", errors="replace")
        return with_header(json.dumps(header).encode(), tensors)
    return with_header(damage_json(json.dumps(header).encode(), random), tensors)


def rezipped(
    data: bytes,
    change: Callable[[str, bytes], bytes | None],
    *,
    more: dict[str, bytes] | None = None,
) -> bytes:
    """The archive with members changed, or left out where `change` gives None; checksums right."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(out, "w") as new:
        for info in old.infolist():
            content = change(info.filename, old.read(info))
            if content is not None:
                new.writestr(info.filename, content)
        for name, content in (more or {}).items():
            new.writestr(name, content)
    return out.getvalue()


def damage_zip(data: bytes, random: Random) -> bytes:
    """Changes one member and writes the archive again, so that no checksum gives it away."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        names = [info.filename for info in archive.infolist()]
    parsed = [n for n in names if n.endswith((".pkl", ".json", ".py", "byteorder", "version"))]
    chosen = random.choice(parsed if random.random() < 0.85 else names)
    lose = random.random() < 0.08

    def change(name: str, content: bytes) -> bytes | None:
        if name != chosen:
            return content
        if lose:
            return None
        if name.endswith(".json") and random.random() < 0.8:
            return damage_json(content, random)
        return damage_bytes(content, random)

    return rezipped(data, change)


def damage_onnx(data: bytes, random: Random) -> bytes:
    """Changes fields of the graph: names, sizes, types, attributes, the order of nodes."""
    model = onnx.load_model_from_string(data)
    for _ in range(random.choice((1, 1, 2, 4))):
        random.choice((_node, _node, _attribute, _attribute, _tensor, _port, _model))(model, random)
    return bytes(model.SerializeToString())


def _node(model: onnx.ModelProto, random: Random) -> None:
    nodes = model.graph.node
    if not nodes:
        return
    node, other = random.choice(nodes), random.choice(nodes)
    what = random.randrange(6)
    if what == 0:
        node.op_type = random.choice((other.op_type, "Loop", "If", "Tile", "Resize", "Nothing", ""))
    elif what == 1 and node.input:
        node.input[random.randrange(len(node.input))] = random.choice(
            ["", "nowhere", *other.output, *other.input]
        )
    elif what == 2 and node.output:
        node.output[0] = random.choice(["", *other.output, *other.input])
    elif what == 3:
        nodes.remove(node)
    elif what == 4:
        nodes.add().CopyFrom(node)
    else:
        node.domain = random.choice(("com.microsoft", "ai.onnx.ml", "\u2028"))


def _attribute(model: onnx.ModelProto, random: Random) -> None:
    nodes = [node for node in model.graph.node if node.attribute]
    if not nodes:
        return
    attribute = random.choice(random.choice(nodes).attribute)
    number = random.choice((*(n for n in NUMBERS if -(2**63) <= n < 2**63), 3, 100))
    if random.random() < 0.2:
        attribute.name = random.choice(("pads", "axis", "kernel_shape", ""))
    elif attribute.ints:
        if random.random() < 0.3:
            attribute.ints.append(number)
        else:
            attribute.ints[random.randrange(len(attribute.ints))] = number
    elif random.random() < 0.5:
        attribute.i = number
    else:
        attribute.type = random.randrange(14)


def _tensor(model: onnx.ModelProto, random: Random) -> None:
    if not model.graph.initializer:
        return
    tensor = random.choice(model.graph.initializer)
    what = random.randrange(5)
    if what == 0 and tensor.dims:
        at = random.randrange(len(tensor.dims))
        tensor.dims[at] = random.choice((0, -1, tensor.dims[at] + 1, 2**31, 2**62, 2**63 - 1))
    elif what == 1:
        tensor.data_type = random.randrange(26)
    elif what == 2:
        tensor.raw_data = damage_bytes(tensor.raw_data, random)
    elif what == 3:
        tensor.name = random.choice(["", "x", model.graph.initializer[0].name])
    else:
        tensor.data_location = onnx.TensorProto.EXTERNAL


def _port(model: onnx.ModelProto, random: Random) -> None:
    ports = [*model.graph.input, *model.graph.output]
    if not ports:
        return
    port = random.choice(ports).type.tensor_type
    if random.random() < 0.2:
        port.elem_type = random.randrange(26)
    elif port.shape.dim:
        size = random.choice((0, -1, 1, 3, 5, 2**20, 2**40, 2**63 - 1))
        random.choice(port.shape.dim).dim_value = size


def _model(model: onnx.ModelProto, random: Random) -> None:
    what = random.randrange(4)
    if what == 0 and model.opset_import:
        model.opset_import[0].version = random.choice((0, -1, 1, 8, 9, 18, 23, 24, 2**40))
    elif what == 1:
        model.ir_version = random.choice((0, -1, 3, 99, 2**40))
    elif what == 2:
        del model.graph.output[:]
    else:
        model.graph.output.add().CopyFrom(
            random.choice([*model.graph.output, onnx.ValueInfoProto()])
        )
