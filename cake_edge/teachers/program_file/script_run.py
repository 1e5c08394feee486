"""Walks the checked sources of a TorchScript program, with tensors as the values.

The language is what torch.jit.save prints: assignments, if, for over a range, while, calls. There
is no operator, attribute or name in it but those handled here, and every statement is counted.
"""

from __future__ import annotations

import ast
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from cake_edge.errors import TeacherError
from cake_edge.teachers.program_file.network import Run
from cake_edge.teachers.program_file.numbers import is_number
from cake_edge.teachers.program_file.script_builtins import (
    PRIM,
    TYPES,
    call_torch,
    plain_key,
    to_number,
)
from cake_edge.teachers.program_file.script_pickle import ScriptObject
from cake_edge.teachers.program_file.script_source import ScriptSource, dotted

__all__ = ["Interpreter", "WeightName"]

MOST_STATEMENTS = 300_000
"""Statements of one call of the program."""
MOST_DEPTH = 40
"""Calls within calls: the modules of a network within one another."""

Scope = dict[str, Any]

_GOING_ON = object()


@dataclass(frozen=True, slots=True)
class WeightName:
    """Stands for a tensor of the program, among its attributes and constants."""

    name: str


@dataclass(frozen=True, slots=True)
class _Function:
    """A function as a value: sources give them shorter names."""

    name: str


@dataclass(frozen=True, slots=True)
class _Method:
    """A method of one object."""

    owner: ScriptObject
    name: str


class Interpreter:
    """One call of a program."""

    def __init__(self, source: ScriptSource, constants: tuple[Any, ...], run: Run) -> None:
        self.source, self.constants, self.run = source, constants, run
        self.statements = self.depth = 0
        self.owned: dict[tuple[int, str], Any] = {}

    def method(self, owner: ScriptObject, name: str, args: list[Any], named: Scope) -> Any:
        """Returns what a method of an object of the program returns."""
        return self._call(f"{owner.kind}.{name}", [owner, *args], named)

    def _call(self, name: str, args: list[Any], named: Scope) -> Any:
        function = self.source.functions.get(name)
        if function is None:
            raise TeacherError(f"the program calls {name[:80]}, which it does not bring with it")
        self.depth += 1
        if self.depth > MOST_DEPTH:
            raise TeacherError(
                f"the program has calls within calls more than {MOST_DEPTH} deep, which no network "
                "has; it is damaged, or made to run without end"
            )
        scope = self._bound(function, args, named)
        result: Any = _GOING_ON
        for statement, over in zip(function.body, self.source.last_uses[name], strict=True):
            result = self._block([statement], scope)
            if result is not _GOING_ON:
                break
            for local in over:
                scope.pop(local, None)
        self.depth -= 1
        return None if result is _GOING_ON else result

    def _bound(self, function: ast.FunctionDef, args: list[Any], named: Scope) -> Scope:
        """The arguments of a call by name, defaults included."""
        given = function.args
        scope: Scope = {}
        places = [*given.args, *given.kwonlyargs]
        defaults: list[ast.expr | None] = [None] * (len(given.args) - len(given.defaults))
        defaults += [*given.defaults, *given.kw_defaults]
        if len(args) > len(given.args):
            raise TeacherError(f"the program hands {function.name} too many arguments")
        for place, (parameter, default) in enumerate(zip(places, defaults, strict=True)):
            if place < len(args):
                scope[parameter.arg] = args[place]
            elif parameter.arg in named:
                scope[parameter.arg] = named[parameter.arg]
            elif default is not None:
                scope[parameter.arg] = self.value(default, {})
            else:
                raise TeacherError(
                    f"the program's {function.name} is called without its {parameter.arg}"
                )
        return scope

    def _block(self, body: list[ast.stmt], scope: Scope) -> Any:
        for statement in body:
            self.statements += 1
            if self.statements > MOST_STATEMENTS:
                raise TeacherError(
                    f"the program runs more than {MOST_STATEMENTS:,} statements for one answer; it "
                    "is damaged, or made to run without end"
                )
            result = STATEMENTS[type(statement)](self, statement, scope)
            if result is not _GOING_ON:
                return result
        return _GOING_ON

    def _assign(self, node: ast.Assign | ast.AnnAssign, scope: Scope) -> Any:
        assert node.value is not None
        value = self.value(node.value, scope)
        for target in node.targets if isinstance(node, ast.Assign) else (node.target,):
            self._set(target, value, scope)
        return _GOING_ON

    def _set(self, target: ast.expr, value: Any, scope: Scope) -> None:
        if isinstance(target, ast.Name):
            scope[target.id] = value
        elif isinstance(target, (ast.Tuple, ast.List)):
            if not isinstance(value, (list, tuple)) or len(value) != len(target.elts):
                raise TeacherError(
                    f"the program expects {len(target.elts)} values and gets other than that; it "
                    "is damaged, or not made for images of this shape"
                )
            for inner, one in zip(target.elts, value, strict=True):
                self._set(inner, one, scope)
        elif isinstance(target, ast.Subscript):
            self._set_item(target, value, scope)
        else:
            raise TeacherError(
                "the program changes an attribute of its own, so that each answer would change the "
                "next; export the network in eval mode"
            )

    def _set_item(self, target: ast.Subscript, value: Any, scope: Scope) -> None:
        items = self.value(target.value, scope)
        if not isinstance(items, (list, dict)):
            raise TeacherError("the program sets an item of what is no list; it is damaged")
        items[plain_key(self.value(target.slice, scope))] = value

    def _expression(self, node: ast.Expr, scope: Scope) -> Any:
        self.value(node.value, scope)
        return _GOING_ON

    def _branch(self, node: ast.If, scope: Scope) -> Any:
        return self._block(node.body if self._truth(node.test, scope) else node.orelse, scope)

    def _loop(self, node: ast.For, scope: Scope) -> Any:
        rounds = node.iter
        if not isinstance(rounds, ast.Call) or dotted(rounds.func) != "range":
            raise TeacherError("the program loops over other than a range; trace it instead")
        for place in range(*(int(self.value(a, scope)) for a in rounds.args)):
            self._set(node.target, place, scope)
            self.statements += 1
            result = self._block(node.body, scope)
            if result is not _GOING_ON:
                return result
        return _GOING_ON

    def _repeat(self, node: ast.While, scope: Scope) -> Any:
        while self._truth(node.test, scope):
            self.statements += 1
            result = self._block(node.body, scope)
            if result is not _GOING_ON:
                return result
        return _GOING_ON

    def _give_back(self, node: ast.Return, scope: Scope) -> Any:
        return None if node.value is None else self.value(node.value, scope)

    def _truth(self, node: ast.expr, scope: Scope) -> bool:
        return bool(to_number(self.run, self.value(node, scope), "bool"))

    def value(self, node: ast.expr, scope: Scope) -> Any:
        """Returns the value of an expression."""
        return EXPRESSIONS[type(node)](self, node, scope)

    def _name(self, node: ast.Name, scope: Scope) -> Any:
        if node.id in scope:
            return scope[node.id]
        if node.id in ("inf", "nan"):
            return float(node.id)
        raise TeacherError(f"the program uses {node.id[:60]}, which nothing before sets")

    def _attribute(self, node: ast.Attribute, scope: Scope) -> Any:
        text = dotted(node) or ""
        if text.startswith("__torch__."):
            return self.source.enums.get(text, _Function(text))
        if text.startswith("CONSTANTS.c"):
            return self._own(self.constants[int(node.attr[1:])])
        return self._member(self.value(node.value, scope), node.attr)

    def _member(self, owner: Any, name: str) -> Any:
        if isinstance(owner, ScriptObject):
            if name in owner.attributes:
                place = (id(owner), name)
                if place not in self.owned:
                    self.owned[place] = self._own(owner.attributes[name])
                return self.owned[place]
            if f"{owner.kind}.{name}" in self.source.functions:
                return _Method(owner, name)
        raise TeacherError(
            f"the program asks a {type(owner).__name__} for {name[:60]!r}, which it does not have"
        )

    def _own(self, value: Any) -> Any:
        """A copy with tensors for their names: what a program adds to a list, it adds to its copy.

        `torchscript` has bounded how much there is.
        """
        if isinstance(value, WeightName):
            return self.run.tensors[value.name]
        if isinstance(value, (list, tuple)):
            return type(value)([self._own(v) for v in value])
        return {k: self._own(v) for k, v in value.items()} if isinstance(value, dict) else value

    def _item(self, node: ast.Subscript, scope: Scope) -> Any:
        items, place = self.value(node.value, scope), self.value(node.slice, scope)
        if not isinstance(items, (list, tuple, dict)):
            raise TeacherError(
                f"the program takes an item of a {type(items).__name__}; it is damaged, so get it "
                "again"
            )
        return items[plain_key(place)]

    def _negative(self, node: ast.UnaryOp, scope: Scope) -> Any:
        value = self.value(node.operand, scope)
        if not isinstance(node.op, ast.USub) or not is_number(value):
            raise TeacherError("the program negates what is no number; it is damaged")
        return -value

    def _choice(self, node: ast.IfExp, scope: Scope) -> Any:
        return self.value(node.body if self._truth(node.test, scope) else node.orelse, scope)

    def _dictionary(self, node: ast.Dict, scope: Scope) -> Any:
        keys = [self.value(k, scope) for k in node.keys if k is not None]
        return dict(zip(keys, (self.value(v, scope) for v in node.values), strict=True))

    def _called(self, node: ast.Call, scope: Scope) -> Any:
        called = dotted(node.func) or ""
        if called in BARE and called not in scope:
            return BARE[called](self, node, scope)
        args = [self.value(a, scope) for a in node.args]
        named = {k.arg: self.value(k.value, scope) for k in node.keywords if k.arg is not None}
        space, _, last = called.rpartition(".")
        if space in ("torch", "ops.aten"):
            return call_torch(self.run, last, args, named)
        if space == "ops.prim":
            return PRIM[last](self.run, *args, **named)
        target = self.value(node.func, scope)
        if isinstance(target, _Method):
            return self.method(target.owner, target.name, args, named)
        if isinstance(target, _Function):
            return self._call(target.name, args, named)
        raise TeacherError(f"the program calls {called[:60] or 'a value'}, which is no function")

    def _is_instance(self, value: Any, kind: ast.expr) -> bool:
        if isinstance(kind, ast.Tuple):
            return any(self._is_instance(value, one) for one in kind.elts)
        inner = kind.slice if isinstance(kind, ast.Subscript) else None
        name = dotted(kind.value if isinstance(kind, ast.Subscript) else kind) or ""
        if name not in TYPES:
            raise TeacherError(f"the program asks whether a value is a {name[:60]}; trace it")
        right = isinstance(value, TYPES[name]) and not (name == "int" and isinstance(value, bool))
        if right and name in ("List", "list") and inner is not None:
            return all(self._is_instance(one, inner) for one in value)
        return right


def _number(kind: str) -> Callable[[Interpreter, ast.Call, Scope], Any]:
    return lambda walk, node, scope: to_number(walk.run, walk.value(node.args[0], scope), kind)


def _text(walk: Interpreter, node: ast.Call, scope: Scope) -> str:
    value = walk.value(node.args[0], scope)
    return str(value) if isinstance(value, (int, float, str, torch.device)) else ""


def _get_attribute(walk: Interpreter, node: ast.Call, scope: Scope) -> Any:
    owner, name = (walk.value(a, scope) for a in node.args)
    return walk._member(owner, name)


BARE: dict[str, Callable[[Interpreter, ast.Call, Scope], Any]] = {
    "annotate": lambda walk, node, scope: walk.value(node.args[1], scope),
    "unchecked_cast": lambda walk, node, scope: walk.value(node.args[1], scope),
    "uninitialized": lambda walk, node, scope: None,
    "isinstance": lambda walk, node, scope: walk._is_instance(
        walk.value(node.args[0], scope), node.args[1]
    ),
    "getattr": _get_attribute,
    "int": _number("int"),
    "float": _number("float"),
    "bool": _number("bool"),
    "str": _text,
}

STATEMENTS: dict[type[ast.stmt], Callable[[Interpreter, Any, Scope], Any]] = {
    ast.Assign: Interpreter._assign,
    ast.AnnAssign: Interpreter._assign,
    ast.Expr: Interpreter._expression,
    ast.If: Interpreter._branch,
    ast.For: Interpreter._loop,
    ast.While: Interpreter._repeat,
    ast.Return: Interpreter._give_back,
    ast.Pass: lambda walk, node, scope: _GOING_ON,
}

EXPRESSIONS: dict[type[ast.expr], Callable[[Interpreter, Any, Scope], Any]] = {
    ast.Constant: lambda walk, node, scope: node.value,
    ast.Name: Interpreter._name,
    ast.Attribute: Interpreter._attribute,
    ast.Call: Interpreter._called,
    ast.Subscript: Interpreter._item,
    ast.Tuple: lambda walk, node, scope: tuple(walk.value(e, scope) for e in node.elts),
    ast.List: lambda walk, node, scope: [walk.value(e, scope) for e in node.elts],
    ast.Dict: Interpreter._dictionary,
    ast.UnaryOp: Interpreter._negative,
    ast.IfExp: Interpreter._choice,
}
