"""TorchScript archives (.pt) as networks.

torch.jit.load is not called: it compiles and runs what the file brings. Here the values are read by
`script_pickle`, the sources parsed by `script_source`, and the program is walked by `script_run`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from cake_edge.errors import TeacherError
from cake_edge.teachers.program_file.archive import Archive
from cake_edge.teachers.program_file.network import ProgramNetwork, Run
from cake_edge.teachers.program_file.script_pickle import ScriptObject, StoredTensor, read_pickle
from cake_edge.teachers.program_file.script_run import Interpreter, WeightName
from cake_edge.teachers.program_file.script_source import ScriptSource, read_source
from cake_edge.teachers.program_file.tensors import StoredTensors, Weight

__all__ = ["ScriptNetwork", "read_torchscript"]

MOST_DEPTH = 50
"""Modules and lists within one another."""
MOST_VALUES = 300_000
"""Values that the attributes of all modules hold; one in two places counts twice."""


class ScriptNetwork(ProgramNetwork):
    """The method `forward` of a TorchScript module, frozen in eval mode."""

    def __init__(
        self,
        weights: list[Weight],
        *,
        module: ScriptObject,
        constants: tuple[Any, ...],
        source: ScriptSource,
    ) -> None:
        """Keeps the program.

        Args:
            weights: its tensors.
            module: the outermost module; its attributes name the weights.
            constants: what the sources call CONSTANTS.
            source: the functions.
        """
        super().__init__(weights, None)
        self._module, self._constants, self._source = module, constants, source
        self._writes = source.writes

    def _answer(self, images: torch.Tensor, run: Run) -> Any:
        return Interpreter(self._source, self._constants, run).method(
            self._module, "forward", [images], {}
        )


def read_torchscript(path: Path) -> ScriptNetwork:
    """Returns the network in a TorchScript archive, traced or scripted, on the CPU, in float32.

    What shape its images have is not in the file: `input_shape` and `batch` are None.

    Raises:
        TeacherError: the archive is damaged, or its program does what no classifier does.
    """
    with Archive(path) as archive:
        try:
            return _read(archive)
        except TeacherError as error:
            told = str(path) in str(error)
            raise TeacherError(str(error) if told else f"{path}: {error}") from error
        except Exception as error:  # damaged bytes end in any way
            raise TeacherError(
                f"{path} is not what torch.jit.save writes "
                f"({type(error).__name__}: {str(error)[:80]}); it is damaged, so get it again"
            ) from error


def _read(archive: Archive) -> ScriptNetwork:
    if "byteorder" in archive.names and archive.read("byteorder") != b"little":
        raise TeacherError("it was written on a big-endian machine; save it again on another")
    if "constants.pkl" not in archive.names:
        raise TeacherError("it holds no TorchScript program; save one with torch.jit.save")
    source = read_source(archive)
    module = read_pickle(archive.text("data.pkl"), "its data.pkl")
    constants = read_pickle(archive.text("constants.pkl"), "its constants.pkl")
    if not isinstance(module, ScriptObject) or not isinstance(constants, tuple):
        raise TeacherError("it holds no module; save a module, with torch.jit.save")
    if f"{module.kind}.forward" not in source.functions:
        raise TeacherError("its module has no method forward; save one that has")
    _check_arguments(source, module)
    keeper = _Keeper(archive, source)
    keeper.enter(module, "", 0)
    kept = tuple(keeper.constant(value, f"constant.{n}") for n, value in enumerate(constants))
    return ScriptNetwork(keeper.weights, module=module, constants=kept, source=source)


def _check_arguments(source: ScriptSource, module: ScriptObject) -> None:
    given = source.functions[f"{module.kind}.forward"].args
    needed = len(given.args) - len(given.defaults) - 1
    if needed != 1:
        raise TeacherError(
            f"its forward takes {needed} arguments; a teacher takes one, of images [N, C, H, W], "
            "so save a wrapper that makes up the others"
        )


class _Keeper:
    """Takes the tensors out of the tree of modules, and leaves their names in it."""

    def __init__(self, archive: Archive, source: ScriptSource) -> None:
        self.weights: list[Weight] = []
        self._stored = StoredTensors(archive)
        self._source = source
        self._seen: set[int] = set()
        self._room = MOST_VALUES

    def enter(self, owner: ScriptObject, path: str, depth: int) -> None:
        """Does so for an object and all below it."""
        if depth > MOST_DEPTH:
            raise TeacherError(f"its modules are nested more than {MOST_DEPTH} deep")
        if id(owner) in self._seen:
            return
        self._seen.add(id(owner))
        buffers = self._source.buffers.get(owner.kind, frozenset())
        for name, value in owner.attributes.items():
            inside = f"{path}{name}"
            if name == "training":
                owner.attributes[name] = False
            elif isinstance(value, ScriptObject):
                self.enter(value, f"{inside}.", depth + 1)
            else:
                trained = name not in buffers
                owner.attributes[name] = self._named(value, inside, "data", trained, depth)

    def constant(self, value: Any, name: str) -> Any:
        """Returns a constant with names for its tensors, and a number for one of a single value."""
        found = self._named(value, name, "constants", True, 0)
        if isinstance(value, StoredTensor) and value.layout.size == ():
            return self.weights.pop().tensor.item()
        return found

    def _named(self, value: Any, name: str, folder: str, trained: bool, depth: int) -> Any:
        self._room -= 1
        if depth > MOST_DEPTH or self._room < 0:
            raise TeacherError(
                f"its values are more than {MOST_VALUES:,}, or nested more than {MOST_DEPTH} deep; "
                "no network's are, so it is damaged or made to exhaust memory"
            )
        if isinstance(value, StoredTensor):
            where = f"its tensor {name[:60]!r}"
            tensor = self._stored.tensor(f"{folder}/{value.key}", value.layout, where)
            self.weights.append(Weight(name=name, tensor=tensor, trained=trained))
            return WeightName(name)
        if isinstance(value, ScriptObject):
            self.enter(value, f"{name}.", depth + 1)
            return value
        if isinstance(value, (list, tuple)):
            inner = [
                self._named(v, f"{name}.{n}", folder, trained, depth + 1)
                for n, v in enumerate(value)
            ]
            return type(value)(inner)
        if isinstance(value, dict):
            return {
                k: self._named(v, f"{name}.{k}", folder, trained, depth + 1)
                for k, v in value.items()
            }
        return value
