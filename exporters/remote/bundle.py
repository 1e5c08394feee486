"""One file that holds everything the other machine needs of this package, and nothing more.

What goes in is found by following imports from `exporters.remote.runner`: those at the top of each
module and, within the rooms that are meant for devices, those inside functions and in strings that
name a module. A package that is only passed through on the way to one of its modules is bundled
empty: nobody asks it for a name, and what it would import stays at home.

The file is a zip archive that Python runs. Its bytes depend on the sources alone: names in order,
one date, nothing compressed (what a compressor writes differs from one to the next).
"""

from __future__ import annotations

import ast
import io
import zipfile
from collections.abc import Iterator
from pathlib import Path

from cake_edge.errors import ArtifactError

__all__ = ["bundle", "needed_modules"]

ROOT = Path(__file__).resolve().parents[2]
OURS = ("cake_edge", "exporters")
ENTRY = "exporters.remote.runner"
DEVICE_SIDE = tuple(
    f"exporters.{room}" for room in ("runtimes", "latency", "devices", "remote", "tensorrt")
)
"""Rooms whose functions may import more; elsewhere that is work for the host."""
FIRST_PYTHON = (3, 10)
DATE = (1980, 1, 1, 0, 0, 0)
MAIN = f"""\
import sys

if sys.version_info < {FIRST_PYTHON}:
    sys.exit("Python %d.%d is too old, {FIRST_PYTHON[0]}.{FIRST_PYTHON[1]} is needed"
             % sys.version_info[:2])
from {ENTRY} import main

main()
"""


def bundle() -> bytes:
    """Returns the file; `python3 FILE bench --models …` runs it.

    Raises:
        ArtifactError: a module that is needed cannot be found.
    """
    modules = needed_modules()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        _add(archive, "__main__.py", MAIN)
        for name in sorted(_with_parents(modules)):
            path = _source(name)
            inside = path.relative_to(ROOT).as_posix()
            _add(archive, inside, path.read_text(encoding="utf-8") if name in modules else "")
    return b"#!/usr/bin/env python3\n" + buffer.getvalue()


def needed_modules() -> frozenset[str]:
    """The names of our modules that the runner may import, packages it asks for names included."""
    needed, waiting = set[str](), [ENTRY]
    while waiting:
        name = waiting.pop()
        if name not in needed:
            needed.add(name)
            waiting += [module for module in _imports(name) if module.split(".")[0] in OURS]
    return frozenset(needed)


def _imports(name: str) -> Iterator[str]:
    tree = ast.parse(_source(name).read_text(encoding="utf-8"))
    yield from _at_top(tree.body)
    if not name.startswith(DEVICE_SIDE):
        return
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield from _at_top(node.body)
        elif isinstance(node, ast.Constant) and str(node.value).startswith("exporters."):
            yield from [str(node.value)] if _exists(str(node.value)) else []


def _at_top(body: list[ast.stmt]) -> Iterator[str]:
    """Modules these statements import, in branches too, but not in functions or for types alone."""
    for node in body:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from _from(node)
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            yield from _at_top(node.orelse)
        else:
            for part in ("body", "orelse", "finalbody"):
                inner = getattr(node, part, [])
                if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
                    yield from _at_top(inner if isinstance(inner, list) else [])
            for handler in getattr(node, "handlers", []):
                yield from _at_top(handler.body)


def _from(node: ast.ImportFrom) -> Iterator[str]:
    """`from a import b` is a.b where that is a module, and a name of a where it is not."""
    module = str(node.module)
    if module.split(".")[0] not in OURS:
        yield module
        return
    for alias in node.names:
        inner = f"{module}.{alias.name}"
        yield inner if _exists(inner) else module


def _with_parents(modules: frozenset[str]) -> set[str]:
    parts = [name.split(".") for name in modules]
    return {".".join(part[:end]) for part in parts for end in range(1, len(part) + 1)}


def _exists(name: str) -> bool:
    path = ROOT.joinpath(*name.split("."))
    return path.with_suffix(".py").is_file() or (path / "__init__.py").is_file()


def _source(name: str) -> Path:
    path = ROOT.joinpath(*name.split("."))
    for found in (path.with_suffix(".py"), path / "__init__.py"):
        if found.is_file():
            return found
    raise ArtifactError(f"the installation is damaged: {name} is missing; install cake-edge again")


def _add(archive: zipfile.ZipFile, name: str, text: str) -> None:
    entry = zipfile.ZipInfo(name, DATE)
    entry.external_attr = 0o644 << 16
    entry.create_system = 3  # else the machine that writes it shows
    archive.writestr(entry, text.encode("utf-8"))
