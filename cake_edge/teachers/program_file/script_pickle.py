"""Reads the pickles of a TorchScript archive as what they are here: a tree of plain values.

Python's unpickler calls what a file names. This reader knows the few opcodes that torch's C++
pickler writes (torch/csrc/jit/serialization/pickler.cpp), and calls nothing: a class is kept as its
name, a tensor is built from sizes that are checked, and any other name ends the reading.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch

from cake_edge.errors import TeacherError
from cake_edge.teachers.program_file.tensors import Layout

__all__ = ["EnumValue", "ScriptObject", "StoredTensor", "read_pickle"]

MOST_VALUES = 2_000_000
"""Values of a pickle: a large network has some hundred thousand."""

STORAGES = {
    "FloatStorage": torch.float32,
    "DoubleStorage": torch.float64,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "ByteStorage": torch.uint8,
    "CharStorage": torch.int8,
    "ShortStorage": torch.int16,
    "IntStorage": torch.int32,
    "LongStorage": torch.int64,
    "BoolStorage": torch.bool,
}
LISTS = ("build_intlist", "build_doublelist", "build_boollist", "build_tensorlist")

PLAIN = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
LITERALS = ("BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "BINUNICODE")
EMPTY = {"EMPTY_TUPLE": tuple, "EMPTY_LIST": list, "EMPTY_DICT": dict}
TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


@dataclass(eq=False, slots=True)
class ScriptObject:
    """An object of a class in the archive: the name of the class, and attributes."""

    kind: str
    attributes: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredTensor:
    """A tensor by its place in the archive."""

    key: str
    layout: Layout


@dataclass(frozen=True, slots=True)
class EnumValue:
    """A member of an enumeration, by its value."""

    kind: str
    value: Any


@dataclass(frozen=True, slots=True)
class _Name:
    """A class or function that the pickle names."""

    text: str


_MARK = object()


def read_pickle(data: bytes, where: str) -> Any:
    """Returns the value in a pickle of torch.jit.save.

    Raises:
        TeacherError: it is damaged, or names what only code could be made of.
    """
    try:
        return _Reader(where).read(data)
    except TeacherError:
        raise
    except Exception as error:  # damaged bytes end in any way, pickletools's own or ours
        raise TeacherError(
            f"{where} is no pickle of torch.jit.save ({type(error).__name__}: {str(error)[:80]}); "
            "the file is damaged, so get it again"
        ) from error


class _Reader:
    """The stack machine, for one pickle."""

    def __init__(self, where: str) -> None:
        self.where = where
        self.stack: list[Any] = []
        self.room = MOST_VALUES
        self.memo: dict[int, Any] = {}
        self.calls: dict[str, Callable[[tuple[Any, ...]], Any]] = {
            "torch._utils _rebuild_tensor_v2": self._tensor,
            "torch._utils _rebuild_parameter": lambda args: args[0],
            "collections OrderedDict": lambda args: {},
            "torch device": lambda args: torch.device("cpu"),
            "torch.jit._pickle restore_type_tag": lambda args: args[0],
            **{f"torch.jit._pickle {name}": self._list for name in LISTS},
        }

    def read(self, data: bytes) -> Any:
        for opcode, argument, _ in pickletools.genops(data):
            self._charge(1)
            if opcode.name == "STOP":
                return self.stack[-1]
            self._step(opcode.name, argument)
        raise ValueError("it ends too early")

    def _charge(self, values: int) -> None:
        """Counts values: one that is referred to often costs every time it is copied."""
        self.room -= values
        if self.room < 0:
            raise ValueError(f"it makes more than {MOST_VALUES:,} values")

    def _step(self, name: str, argument: Any) -> None:
        if name == "GLOBAL":
            self.stack.append(self._named(argument))
        elif name in ("BINPUT", "LONG_BINPUT"):
            self.memo[argument] = self.stack[-1]
        elif name in ("BINGET", "LONG_BINGET"):
            self.stack.append(self.memo[argument])
        elif name in LITERALS:
            self.stack.append(argument)
        elif name in PLAIN:
            self.stack.append(PLAIN[name])
        elif name in EMPTY:
            self.stack.append(EMPTY[name]())
        elif name == "MARK":
            self.stack.append(_MARK)
        elif name in TUPLES:
            self.stack[-TUPLES[name] :] = [tuple(self.stack[-TUPLES[name] :])]
        elif name in BUILDERS:
            BUILDERS[name](self)
        elif name != "PROTO":
            raise TeacherError(
                f"{self.where} has the opcode {name}, which torch.jit.save does not write; it was "
                "made by other means, so save the program again"
            )

    def _named(self, text: str) -> _Name:
        module, _, name = text.partition(" ")
        own = module == "__torch__" or module.startswith("__torch__.")
        torchbind = module.startswith("__torch__.torch.classes")
        if (own and not torchbind) or text in self.calls or (module, name) in _STORAGE_NAMES:
            return _Name(text)
        raise TeacherError(
            f"{self.where} names {text[:80]!r}, which is neither a tensor nor a module of the "
            "program; loading it could run any code, so it was refused. Save a program of plain "
            "modules, with torch.jit.save"
        )

    def marked(self) -> list[Any]:
        """Takes what lies on the stack down to the last mark."""
        place = len(self.stack) - 1
        while self.stack[place] is not _MARK:
            place -= 1
            if place < 0:
                raise ValueError("a mark is missing")
        taken = self.stack[place + 1 :]
        del self.stack[place:]
        return taken

    def reduce(self) -> None:
        args, made = self.stack.pop(), self.stack.pop()
        if made.text in self.calls:
            self.stack.append(self.calls[made.text](args))
        elif made.text.startswith("__torch__") and type(args) in (int, float, str):
            self.stack.append(EnumValue(made.text.replace(" ", "."), args))
        else:
            raise ValueError("an object is made of arguments")

    def new_object(self) -> None:
        args, made = self.stack.pop(), self.stack.pop()
        if args != () or not made.text.startswith("__torch__"):
            raise ValueError("an object with arguments")
        self.stack.append(ScriptObject(made.text.replace(" ", ".")))

    def build(self) -> None:
        state = self.stack.pop()
        target = self.stack[-1]
        if not isinstance(target, ScriptObject) or not isinstance(state, dict):
            raise TeacherError(
                f"{self.where} brings an object with a state of its own making, which only a "
                "__setstate__ could read, and no code of a file is run; save the program without "
                "custom classes"
            )
        self._charge(len(state))
        target.attributes.update(state)

    def persistent(self) -> None:
        kind, storage, key, _, elements = self.stack.pop()
        if kind != "storage" or type(key) is not str or type(elements) is not int:
            raise ValueError("a storage is damaged")
        self.stack.append((STORAGES[storage.text.removeprefix("torch ")], key))

    def _list(self, args: tuple[Any, ...]) -> list[Any]:
        self._charge(len(args[0]))
        return list(args[0])

    @staticmethod
    def _tensor(args: tuple[Any, ...]) -> StoredTensor:
        (dtype, key), offset, size, stride, *_ = args
        layout = Layout(dtype=dtype, size=tuple(size), stride=tuple(stride), offset=offset)
        return StoredTensor(key=key, layout=layout)

    def set_items(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if type(target) is not dict or len(items) % 2:
            raise ValueError("items of no dict")
        target.update(zip(items[::2], items[1::2], strict=True))

    def append(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if type(target) is not list:
            raise ValueError("items of no list")
        target.extend(items)


BUILDERS: dict[str, Callable[[_Reader], None]] = {
    "TUPLE": lambda reader: reader.stack.append(tuple(reader.marked())),
    "SETITEMS": lambda reader: reader.set_items(reader.marked()),
    "APPENDS": lambda reader: reader.append(reader.marked()),
    "APPEND": lambda reader: reader.append([reader.stack.pop()]),
    "REDUCE": _Reader.reduce,
    "NEWOBJ": _Reader.new_object,
    "BUILD": _Reader.build,
    "BINPERSID": _Reader.persistent,
}

_STORAGE_NAMES = {("torch", name) for name in STORAGES}
