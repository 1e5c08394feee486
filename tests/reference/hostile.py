"""Files that are written to do harm: to run code, to fill the memory, to reach other files.

A file that runs would make the file `MARKER`, by name in its own folder's parent.
"""

from __future__ import annotations

import io
import json
import pickle  # noqa: TID251  # what it runs is what is tested
import struct
import warnings
import zipfile
import zlib
from collections.abc import Callable, Sequence
from typing import Any

import onnx
from onnx import TensorProto, helper
from reference.corrupt import rezipped, with_header

__all__ = [
    "MARKER",
    "hostile_onnx",
    "hostile_pickles",
    "hostile_safetensors",
    "hostile_toml",
    "hostile_zips",
]

MARKER = "marker-of-code-that-ran"
TOUCH = f"touch ../{MARKER}"
WRITE = f"open('../{MARKER}', 'w')"

Files = dict[str, bytes]


def hostile_pickles() -> Files:
    """Pickles by what they do."""

    def call(name: str, word: str) -> bytes:
        return f"c{name}\n(S{word!r}\ntR.".encode()

    storage = _storage("FloatStorage", "0", 4)
    half = _storage("HalfStorage", "0", 4)
    rebuild = b"ctorch._utils\n_rebuild_tensor_v2\n"

    def tensor(kept: bytes, offset: int, size: Sequence[int], stride: Sequence[int]) -> bytes:
        numbers = b"".join(b"(" + b"".join(map(_whole, each)) + b"t" for each in (size, stride))
        made = b"(" + kept + _whole(offset) + numbers + b"\x89ccollections\nOrderedDict\n)RtR"
        return b"\x80\x02}" + _text("5.weight") + rebuild + made + b"s."

    return {
        "os.system": call("os\nsystem", TOUCH),
        "posix.system": call("posix\nsystem", TOUCH),
        "eval": call("builtins\neval", WRITE),
        "exec": call("builtins\nexec", WRITE),
        "old eval": call("__builtin__\neval", WRITE),
        "popen": call("os\npopen", TOUCH),
        "subprocess": f"csubprocess\nPopen\n((S'touch'\nS'../{MARKER}'\nltR.".encode(),
        "import": call("importlib\nimport_module", "this"),
        "open": f"cio\nopen\n(S'../{MARKER}'\nS'w'\ntR.".encode(),
        "hub": call("torch.hub\nload", "someone/something"),
        "torch.load": call("torch.serialization\nload", "../x"),
        "torch.jit.load": call("torch.jit\nload", "../x"),
        "getattr": b"cbuiltins\ngetattr\n(cos\nsystem\nS'x'\ntR.",
        "obj": b"(cos\nsystem\nS'" + TOUCH.encode() + b"'\no.",
        "inst": b"(S'" + TOUCH.encode() + b"'\nios\nsystem\n.",
        "newobj": b"\x80\x02cos\nsystem\n(U" + bytes([len(TOUCH)]) + TOUCH.encode() + b"t\x81.",
        "copyreg": b"ccopyreg\n_reconstructor\n(cos\nsystem\ncbuiltins\nobject\nNtR.",
        "build on module": b"\x80\x02ctorch.nn\nfunctional\n}" + _text("relu") + b"K\x01sb.",
        "build on type": b"\x80\x02ccollections\nOrderedDict\n}" + _text("__init__") + b"K\x01sb.",
        "build on function": b"\x80\x02" + rebuild + b"}" + _text("__code__") + b"K\x01sb.",
        "stack global": b"\x80\x04\x8c\x05posix\x8c\x06system\x93\x8c"
        + bytes([len(TOUCH)])
        + TOUCH.encode()
        + b"\x85R.",
        "reduce chain": b"\x80\x02ccollections\nOrderedDict\n" + b")R" * 5000 + b".",
        "deep lists": b"\x80\x02" + b"]" * 200_000 + b"a" * 199_999 + b".",
        "deep tuples": b"\x80\x02)" + b"\x85" * 200_000 + b".",
        "deep dicts": b"\x80\x02"
        + b"}X\x05\x00\x00\x00model" * 50_000 + b"}" + b"s" * 50_000 + b".",
        "holds itself": b"\x80\x02}q\x00X\x05\x00\x00\x00modelh\x00s.",
        "long of 2 GiB": b"\x80\x02\x8b\xff\xff\xff\x7f.",
        "negative long": b"\x80\x02\x8b\xff\xff\xff\xff.",
        "text of 2 GiB": b"\x80\x02X\xff\xff\xff\x7f.",
        "bytes of 1 TiB": b"\x80\x04\x8e" + struct.pack("<Q", 1 << 40) + b".",
        "frame of 1 EiB": b"\x80\x04\x95" + struct.pack("<Q", 1 << 60) + b".",
        "memo at 4 billion": b"\x80\x02]r\xff\xff\xff\xff.",
        "digits": b"L" + b"9" * 200_000 + b"L\n.",
        "bytearray of 1 GiB": b"\x80\x02cbuiltins\nbytearray\n(" + _whole(1 << 30) + b"tR.",
        "encode": b"\x80\x02c_codecs\nencode\n(" + _text("x") + _text("zlib_codec") + b"tR.",
        "persistent id of nothing": b"(tQ.",
        "persistent id of text": b"\x80\x02" + _text("../../x") + b"Q.",
        "persistent id of a module": b"\x80\x02("
        + b"".join(map(_text, ("module", "os", "x", "y"))) + b"tQ.",
        "storage out of the archive": tensor(_storage("FloatStorage", "../../x", 4), 0, [4], [1]),
        "a state out of a pickle": tensor(storage, 0, [4], [1]),
        "storage of 4 TiB": tensor(_storage("FloatStorage", "0", 1 << 40), 0, [4], [1]),
        "storage of less than nothing": tensor(_storage("FloatStorage", "0", -4), 0, [4], [1]),
        "elements that are not there": tensor(storage, 0, [1 << 40], [1]),
        "one element a trillion times": tensor(storage, 0, [1 << 40], [0]),
        "a half a trillion times": tensor(half, 0, [1 << 40], [0]),
        "a half a billion times": tensor(half, 0, [1 << 30], [0]),
        "behind the storage": tensor(storage, 1 << 40, [1], [1]),
        "before the storage": tensor(storage, -8, [4], [1]),
        "backwards": tensor(storage, 3, [4], [-1]),
        "sizes that overflow": tensor(storage, 0, [1 << 32, 1 << 32], [1, 1]),
        "negative size": tensor(storage, 0, [-4], [1]),
        "many axes": tensor(storage, 0, [1] * 5000, [0] * 5000),
        "stop at once": b".",
        "pops nothing": b"0000.",
        "no stop": b"\x80\x02]",
        "protocol 255": b"\x80\xff].",
        "a plain object": pickle.dumps([1, 2, 3]),
        "unnamed tensors": b"\x80\x02].",
    }  # fmt: skip


def _text(word: str) -> bytes:
    """The opcode of a text, of those that torch's own reader of pickles knows."""
    return b"X" + struct.pack("<I", len(word)) + word.encode()


def _whole(number: int) -> bytes:
    held = number.to_bytes(number.bit_length() // 8 + 1, "little", signed=True)
    return b"\x8a" + bytes([len(held)]) + held


def _storage(kind: str, key: str, count: int) -> bytes:
    """What stands for a storage in a pickle: a persistent id."""
    return (
        b"(" + _text("storage") + f"ctorch\n{kind}\n".encode() + _text(key) + _text("cpu")
        + _whole(count) + b"tQ"
    )  # fmt: skip


def hostile_zips(data: bytes, member: str) -> Files:
    """Changes an archive of torch whose directory is what is wrong with it.

    Args:
        data: the valid archive.
        member: the end of the name of a member that must be read.
    """
    root = zipfile.ZipFile(io.BytesIO(data)).namelist()[0].partition("/")[0]

    def same(name: str, content: bytes) -> bytes:
        return content

    bomb = bytes(64 << 20)
    end = data.rfind(b"PK\x05\x06")
    start = zipfile.ZipFile(io.BytesIO(data)).start_dir
    # The flag lies at +8 of an entry of the directory, the sizes at +20 and +24, the name at +46.
    flagged = data[: start + 8] + b"\x01\x00" + data[start + 10 :]
    enormous = data[: start + 20] + struct.pack("<II", 2**32 - 2, 2**32 - 2) + data[start + 28 :]
    away = data[: start + 42] + struct.pack("<I", 2**32 - 2) + data[start + 46 :]
    crc = data[: start + 16] + b"\xde\xad\xbe\xef" + data[start + 20 :]
    count = data[: end + 8] + b"\xff\xff\xff\xff" + data[end + 12 :] if end > 0 else data[:-4]
    return {
        "a member that climbs out": rezipped(data, same, more={"../../climbed": b"x"}),
        "a member at the root": rezipped(data, same, more={f"/tmp/{MARKER}": b"x"}),
        "a Windows path": rezipped(data, same, more={"..\\..\\climbed": b"x"}),
        "an encrypted member": flagged,
        "a member of 4 GiB": enormous,
        "a member that lies elsewhere": away,
        "a wrong checksum": crc,
        "65535 members": count,
        "a bomb": _with_bomb(data, f"{root}/data/99", bomb),
        "a bomb to be parsed": _with_bomb(
            rezipped(data, _without(member)), f"{root}/{member}", bomb
        ),
        "twice": _twice(data, member),
        "an archive inside": rezipped(data, lambda n, c: data if n.endswith(member) else c),
        "an archive behind another": data + data,
        "something before it": b"#!/bin/sh\n" + data,
        "only the end": data[end:],
        "a name of 60 kB": rezipped(data, same, more={f"{root}/{'n' * 60000}": b""}),
        "20000 members": rezipped(data, same, more={f"{root}/{i}": b"" for i in range(20_000)}),
        "an empty member": rezipped(data, lambda n, c: b"" if n.endswith(member) else c),
        "no members": b"PK\x05\x06" + bytes(18),
    }


def _without(member: str) -> Callable[[str, bytes], bytes | None]:
    return lambda name, content: None if name.endswith(member) else content


def _with_bomb(data: bytes, name: str, content: bytes) -> bytes:
    """With a member of a thousandth of its size, of which the directory says 16 times as much."""
    out = io.BytesIO(data)
    with zipfile.ZipFile(out, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, content)
    return out.getvalue()


def _twice(data: bytes, member: str) -> bytes:
    out = io.BytesIO(data)
    with zipfile.ZipFile(out, "a") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        name = next(n for n in archive.namelist() if n.endswith(member))
        archive.writestr(name, b"cos\nsystem\n(S'" + TOUCH.encode() + b"'\ntR.")
    return out.getvalue()


def hostile_safetensors() -> Files:
    """Headers that say what is not so."""

    def entry(**more: Any) -> dict[str, Any]:
        return {"dtype": "F32", "shape": [2], "data_offsets": [0, 8], **more}

    def text(header: dict[str, Any]) -> bytes:
        return with_header(json.dumps(header).encode(), bytes(16))

    deep = b'{"__metadata__":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    return {
        "a header of 16 EiB": b"\xff" * 8 + b"{}",
        "a header of 2 GiB": struct.pack("<Q", 2 << 30) + b"{}",
        "a header of 100 MB that is there": with_header(b'{"a":' + b" " * 100_000_000 + b"}", b""),
        "no header": bytes(8),
        "a short header": struct.pack("<Q", 2) + b"{",
        "deep": with_header(deep, b""),
        "deep tensors": with_header(deep.replace(b"__metadata__", b"t"), b""),
        "overlapping": text({"a": entry(), "b": entry()}),
        "a hole": text({"a": entry(), "b": entry(data_offsets=[12, 20])}),
        "negative": text({"a": entry(data_offsets=[-8, 0])}),
        "backwards": text({"a": entry(data_offsets=[8, 0])}),
        "far away": text({"a": entry(data_offsets=[2**62, 2**62 + 8])}),
        "huge": text({"a": entry(shape=[2**40], data_offsets=[0, 2**42])}),
        "overflowing": text({"a": entry(shape=[2**32, 2**32, 2**32])}),
        "huge and empty": text({"a": entry(shape=[2**62, 0], data_offsets=[0, 0])}),
        "many axes": text({"a": entry(shape=[1] * 100_000 + [2])}),
        "another type": text({"a": entry(dtype="PICKLE")}),
        "shape of text": text({"a": entry(shape="2")}),
        "NaN": with_header(b'{"a":{"dtype":"F32","shape":[NaN],"data_offsets":[0,8]}}', bytes(8)),
        "twice": with_header(
            b'{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},'
            b'"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}',
            bytes(8),
        ),
        "not UTF-8": with_header(b'{"\xff\xfe":{}}', b""),
        "metadata of numbers": text({"__metadata__": {"cake_edge": 1}}),
        "metadata as a list": text({"__metadata__": []}),
        "our key, empty": text({"__metadata__": {"cake_edge": ""}, "a": entry(), "b": {}}),
        "our key, deep": text({"__metadata__": {"cake_edge": "[" * 100_000}}),
        "our key, deep and alone": with_header(
            json.dumps({"__metadata__": {"cake_edge": "[" * 100_000}}).encode(), b""
        ),
        "our key, digits": with_header(
            json.dumps({"__metadata__": {"cake_edge": "9" * 100_000}}).encode(), b""
        ),
        "our key, a list": with_header(
            json.dumps({"__metadata__": {"cake_edge": "[1]"}}).encode(), b""
        ),
    }


def hostile_onnx() -> Files:
    """Graphs that go round, go deep, or ask for more than there is."""
    return {
        "a cycle": _graph(
            [("Relu", ["b"], ["a"]), ("Relu", ["a"], ["b"]), ("Add", ["x", "b"], ["y"])]
        ),
        "reads itself": _graph([("Add", ["x", "y"], ["y"])]),
        "reads what is not there": _graph([("Add", ["x", "lost"], ["y"])]),
        "gives one name twice": _graph([("Relu", ["x"], ["y"]), ("Abs", ["x"], ["y"])]),
        "no output": _graph([("Relu", ["x"], ["z"])]),
        "fills 4 TiB": _graph(
            [("ConstantOfShape", ["s"], ["y"])], ints={"s": [1 << 20, 1 << 20]}
        ),
        "fills 3 GiB": _graph([("ConstantOfShape", ["s"], ["y"])], ints={"s": [3, 1 << 28]}),
        "fills 1 GiB five times": _graph(
            [("ConstantOfShape", ["s"], [f"c{i}"]) for i in range(5)]
            + [("Sum", [f"c{i}" for i in range(5)], ["y"])],
            ints={"s": [1, 1 << 28]},
        ),
        "grows by squares": _graph(
            [("Mul", ["x", "x"], ["t0"])]
            + [("Concat", [f"t{i}"] * 16, [f"t{i + 1}"], {"axis": 1}) for i in range(7)]
            + [("Relu", ["t7"], ["y"])]
        ),
        "tiles": _graph([("Tile", ["x", "s"], ["y"])], ints={"s": [1, 1 << 15, 1 << 15, 1]}),
        "tiles backwards": _graph([("Tile", ["x", "s"], ["y"])], ints={"s": [1, -1, 1, 1]}),
        "expands": _graph([("Expand", ["x", "s"], ["y"])], ints={"s": [1 << 40, 3, 8, 8]}),
        "pads": _graph([("Pad", ["x", "s"], ["y"])], ints={"s": [0] * 7 + [1 << 40]}),
        "pads less than nothing": _graph([("Pad", ["x", "s"], ["y"])], ints={"s": [0] * 7 + [-99]}),
        "resizes": _graph(
            [("Resize", ["x", "", "", "s"], ["y"])], ints={"s": [1, 3, 1 << 30, 1 << 30]}
        ),
        "reshapes": _graph([("Reshape", ["x", "s"], ["y"])], ints={"s": [-1, -1, 1 << 40]}),
        "one-hot of a billion": _graph(
            [("OneHot", ["s", "d", "v"], ["y"])],
            ints={"s": [1, 2], "d": [1 << 40], "v": [0, 1]},
        ),
        "ranges to a trillion": _graph([("Range", ["a", "b", "c"], ["y"])], ints={
            "a": 0, "b": 1 << 40, "c": 1,
        }),
        "weights of 4 TiB": _graph([("Add", ["x", "w"], ["y"])], dims=[1 << 40]),
        "weights of less than nothing": _graph([("Add", ["x", "w"], ["y"])], dims=[-4]),
        "weights that overflow": _graph([("Add", ["x", "w"], ["y"])], dims=[1 << 32] * 3),
        "an image of a million pixels a side": _graph([("Relu", ["x"], ["y"])], size=1 << 20),
        "strides of nothing": _graph(
            [("MaxPool", ["x"], ["y"], {"kernel_shape": [1, 1], "strides": [0, 0]})]
        ),
        "a kernel of 2 billion": _graph(
            [("AveragePool", ["x"], ["y"], {"kernel_shape": [2**31, 2**31]})]
        ),
        "deep graphs": _deep(300),
        "a function that calls itself": _recursive(),
        "names that are not text": _graph([("Relu", ["x"], ["y"])]).replace(
            b"Relu", b"\xff\xfe\xfd\xfc"
        ),
        "names of zeros": _graph([("Relu", ["x"], ["y"])]).replace(b"Relu", b"Re\0u"),
        "lines in names": _graph([("Re\nu", ["x"], ["y\n"])]),
        "a name of 100 kB": _graph([("R" * 100_000, ["x"], ["y"])]),
        "30000 nodes": _graph(
            [("Relu", ["x" if i == 0 else f"n{i}"], [f"n{i + 1}"]) for i in range(30_000)]
            + [("Relu", ["n30000"], ["y"])]
        ),
        "nothing": b"",
        "no graph": onnx.ModelProto(ir_version=8).SerializeToString(),
        "groups that never end": b"\x0b" * 5000,
        "bytes beyond the end": b"\x3a\xff\xff\xff\xff\x0f",
    }  # fmt: skip


def _graph(
    nodes: Sequence[tuple[Any, ...]],
    *,
    ints: dict[str, list[int] | int] | None = None,
    dims: Sequence[int] = (),
    size: int = 8,
) -> bytes:
    weights = []
    for name, values in (ints or {}).items():
        scalar = isinstance(values, int)
        held = [values] if isinstance(values, int) else values
        weights.append(
            helper.make_tensor(name, TensorProto.INT64, [] if scalar else [len(held)], held)
        )
    if dims:
        weights.append(TensorProto(name="w", dims=dims, data_type=1, raw_data=bytes(16)))
    graph = helper.make_graph(
        [helper.make_node(n[0], n[1], n[2], **(n[3] if len(n) > 3 else {})) for n in nodes],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3, size, size])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", None])],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(model.SerializeToString())


def _deep(depth: int) -> bytes:
    """One graph inside the other, deeper than protobuf reads."""
    model = onnx.load_model_from_string(_graph([("Relu", ["x"], ["y"])]))
    inner = onnx.GraphProto(name="g")
    for _ in range(depth):
        outer = onnx.GraphProto(name="g")
        node = outer.node.add(op_type="If", input=["x"], output=["y"])
        node.attribute.add(name="then_branch", type=onnx.AttributeProto.GRAPH).g.CopyFrom(inner)
        inner = outer
    model.graph.node[0].CopyFrom(inner.node[0])
    return bytes(model.SerializeToString())


def _recursive() -> bytes:
    model = onnx.load_model_from_string(_graph([("F", ["x"], ["y"], {"domain": "d"})]))
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("d", 1)]
    node = helper.make_node("F", ["a"], ["b"], domain="d")
    model.functions.append(helper.make_function("d", "F", ["a"], ["b"], [node], opsets))
    model.opset_import.add(domain="d", version=1)
    return bytes(model.SerializeToString())


def hostile_toml() -> Files:
    """Recipes that are no recipe."""
    return {
        "deep lists": b"a = " + b"[" * 50_000 + b"]" * 50_000,
        "deep tables": b"a = " + b"{b = " * 5_000 + b"1" + b"}" * 5_000,
        "deep names": b".".join([b"a"] * 20_000) + b" = 1",
        "deep headers": b"[" + b".".join([b"a"] * 20_000) + b"]",
        "a number of 100000 digits": b"seed = " + b"9" * 100_000,
        "an infinite seed": b"seed = inf",
        "a name of 1 MB": b'name = "' + b"x" * 1_000_000 + b'"',
        "an unknown name of 1 MB": b"x" * 1_000_000 + b" = 1",
        "zeros": bytes(1000),
        "not UTF-8": b'name = "\xff\xfe"',
        "UTF-16": 'name = "x"'.encode("utf-16"),
        "twice": b'name = "a"\nname = "b"',
        "an open string": b'name = """' + b"x" * 1000,
        "a day": b"name = 1979-05-27",
        "compressed": zlib.compress(bytes(1000)),
    }
