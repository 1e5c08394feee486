"""The sources of a TorchScript archive, parsed as text and held to what its printer writes.

torch.jit.save writes every method as Python-like text under code/. It is parsed with `ast`, never
compiled: `script_run` walks the tree. Everything is checked here, before anything is walked.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping

from cake_edge.errors import TeacherError
from cake_edge.teachers.program_file.archive import Archive
from cake_edge.teachers.program_file.operators import is_allowed, is_in_place
from cake_edge.teachers.program_file.script_builtins import BUILTINS, NAMES, NEVER_REACHED, PRIM
from cake_edge.teachers.program_file.script_pickle import EnumValue

__all__ = ["ScriptSource", "dotted", "read_source"]

MOST_STATEMENT = 40_000
"""Characters of one statement: on much longer ones Python 3.10's parser overflows its stack."""

QUOTED = r""""(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'"""

STATEMENTS = (ast.Assign, ast.Expr, ast.If, ast.For, ast.While, ast.Return, ast.Pass)
EXPRESSIONS = (
    ast.Constant,
    ast.Name,
    ast.Attribute,
    ast.Call,
    ast.Subscript,
    ast.Tuple,
    ast.List,
    ast.Dict,
    ast.UnaryOp,
    ast.IfExp,
    ast.keyword,
)
CONTEXT = (ast.Load, ast.Store, ast.USub, ast.arguments, ast.arg)


class ScriptSource:
    """What the sources of an archive define, by full name; nothing changes after it is made.

    It is pickled and copied as the texts that it was made of.
    """

    def __init__(self, texts: Mapping[str, str]) -> None:
        """Parses and checks the text of every module, by the module's name.

        Raises:
            TeacherError: a source is damaged, or does what no network of tensors does.
        """
        self.texts = dict(texts)
        self.functions: dict[str, ast.FunctionDef] = {}
        """Functions, and methods under the name of their class."""
        self.buffers: dict[str, frozenset[str]] = {}
        """The attributes of each class that are buffers."""
        self.enums: dict[str, EnumValue] = {}
        """Members of enumerations."""
        self.last_uses: dict[str, tuple[tuple[str, ...], ...]] = {}
        """Of each function, the names that are used for the last time in each statement."""
        self.writes = False
        """Whether an operator that writes in place is called anywhere."""
        for module, text in self.texts.items():
            for node in _parsed(text, module).body:
                _enter(node, module, self)
        for name, function in self.functions.items():
            _check(function, name, self)
            self.last_uses[name] = _last_uses(function)

    def __reduce__(self) -> tuple[type[ScriptSource], tuple[dict[str, str]]]:
        return ScriptSource, (self.texts,)


def read_source(archive: Archive) -> ScriptSource:
    """Returns the functions and methods of an archive, checked.

    Raises:
        TeacherError: a source is damaged, or does what no network of tensors does.
    """
    texts = {}
    for member in archive.names:
        if member.startswith("code/") and member.endswith(".py"):
            module = member.removeprefix("code/").removesuffix(".py").replace("/", ".")
            texts[module] = archive.text(member).decode(errors="replace")
    return ScriptSource(texts)


def _parsed(text: str, module: str) -> ast.Module:
    if _longest_statement(text) > MOST_STATEMENT:
        raise TeacherError(
            f"its source {module} has a statement of more than {MOST_STATEMENT:,} characters, "
            "which no network has; trace the network instead, with torch.jit.trace"
        )
    try:
        return ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise TeacherError(
            f"its source {module} cannot be parsed ({str(error)[:80]}); it is damaged, so get it "
            "again"
        ) from error


def _longest_statement(text: str) -> int:
    """Characters of the longest statement; a line break within brackets does not end one."""
    longest = start = depth = 0
    text = re.sub(QUOTED, '""', text)
    for found in re.finditer(r"[(\[{]|[)\]}]|\n", text):
        if found[0] == "\n":
            if depth == 0:
                longest, start = max(longest, found.start() - start), found.end()
        else:
            depth = max(0, depth + (1 if found[0] in "([{" else -1))
    return max(longest, len(text) - start)


def _enter(node: ast.stmt, module: str, source: ScriptSource) -> None:
    if isinstance(node, ast.FunctionDef):
        source.functions[f"{module}.{node.name}"] = node
    elif isinstance(node, ast.ClassDef):
        _enter_class(node, f"{module}.{node.name}", source)
    else:
        raise TeacherError(
            f"its source {module} has a {type(node).__name__} outside of any function, which "
            "torch.jit.save does not write; it is damaged or made by other means, so save it again"
        )


def _enter_class(node: ast.ClassDef, name: str, source: ScriptSource) -> None:
    enumeration = [dotted(base) for base in node.bases] == ["Enum"]
    for part in node.body:
        if isinstance(part, ast.FunctionDef):
            if part.name in ("__setstate__", "__getstate__", "__init__"):
                raise TeacherError(
                    f"its class {name} brings a {part.name}, code that runs when the file is "
                    "loaded, and no code of a file is run; save the program without custom classes"
                )
            source.functions[f"{name}.{part.name}"] = part
        elif isinstance(part, ast.AnnAssign):
            if "__torch__.torch.classes" in ast.unparse(part.annotation):
                raise TeacherError(
                    f"its class {name} holds an object of C++ ({ast.unparse(part.annotation)[:80]}"
                    "), which is not loaded; save the float program without packed weights"
                )
        elif isinstance(part, ast.Assign):
            target = dotted(part.targets[0])
            if enumeration and target and isinstance(part.value, ast.Constant):
                source.enums[f"{name}.{target}"] = EnumValue(name, part.value.value)
            elif target == "__buffers__":
                source.buffers[name] = frozenset(
                    c.value
                    for c in ast.walk(part.value)
                    if isinstance(c, ast.Constant) and isinstance(c.value, str)
                )
        elif not isinstance(part, ast.Pass):
            raise TeacherError(f"its class {name} has a {type(part).__name__}; save it again")


def _check(function: ast.FunctionDef, name: str, source: ScriptSource) -> None:
    """Refuses every statement, expression and call that `script_run` would not know."""
    if function.decorator_list or function.args.vararg or function.args.kwarg:
        raise TeacherError(f"its function {name} is not one that torch.jit.save writes")
    local = {n.id for n in ast.walk(function) if isinstance(n, ast.Name) and _is_set(n)}
    parts: list[ast.AST] = [*function.body, *function.args.defaults]
    parts += [default for default in function.args.kw_defaults if default is not None]
    while parts:
        node = parts.pop()
        if isinstance(node, ast.Call):
            _check_call(node, name, source, local)
        if isinstance(node, ast.Call) and dotted(node.func) in ("annotate", "unchecked_cast"):
            parts.extend(node.args[1:])  # a type comes first, and is not looked at
        elif isinstance(node, ast.Call) and dotted(node.func) in ("isinstance", "uninitialized"):
            parts.extend(node.args[:-1])
        elif isinstance(node, ast.AnnAssign) and node.value is not None:
            parts.extend((node.target, node.value))
        elif isinstance(node, (*STATEMENTS, *EXPRESSIONS, *CONTEXT)):
            parts.extend(ast.iter_child_nodes(node))
        else:
            raise TeacherError(
                f"its function {name} has a {type(node).__name__}, which is not run from a file; "
                "trace the network instead, with torch.jit.trace"
            )


def _last_uses(function: ast.FunctionDef) -> tuple[tuple[str, ...], ...]:
    later: set[str] = set()
    found = []
    for statement in reversed(function.body):
        names = {n.id for n in ast.walk(statement) if isinstance(n, ast.Name)}
        found.append(tuple(sorted(names - later)))
        later |= names
    return tuple(reversed(found))


def _is_set(node: ast.Name) -> bool:
    return isinstance(node.ctx, ast.Store)


def _check_call(node: ast.Call, name: str, source: ScriptSource, local: set[str]) -> None:
    if any(keyword.arg is None for keyword in node.keywords):
        raise TeacherError(f"its function {name} is not one that torch.jit.save writes")
    called = dotted(node.func)
    if called is None:
        return
    space, _, last = called.rpartition(".")
    if space in ("torch", "ops.aten"):
        source.writes |= is_in_place(last)
        known = is_allowed(last) or last in BUILTINS or last in NEVER_REACHED
    elif space == "ops.prim":
        known = last in PRIM
    elif called.startswith(("torch.", "ops.", "__torch__.")):
        known = called in source.functions
    else:
        known = bool(space) or called in local or called in NAMES
    if not known:
        raise TeacherError(
            f"its function {name} calls {called[:80]}, which is not among what classifiers use and "
            "what is safe to run from a file; trace the network instead, or export it to ONNX"
        )


def dotted(node: ast.AST) -> str | None:
    """Returns the text of a chain of plain names such as `torch.nn.relu`, else None."""
    parts = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    if not isinstance(node, ast.Name):
        return None
    return ".".join(reversed([*parts, node.id]))
