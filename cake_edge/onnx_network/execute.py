"""Computes nodes one after the other."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch

from cake_edge.errors import TeacherError
from cake_edge.onnx_network.known import Known
from cake_edge.onnx_network.node import Call, Node, Value
from cake_edge.onnx_network.operators import OPERATORS
from cake_edge.onnx_network.operators.arithmetic import ARITHMETIC

__all__ = ["Step", "execute", "results_of", "steps_of"]

# What torch and Python raise when shapes, types or numbers do not fit together.
MISFITS = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    MemoryError,
    RuntimeError,
    TypeError,
    ValueError,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A node, and the values that no later one reads."""

    node: Node
    done_with: tuple[str, ...]


def steps_of(nodes: Sequence[Node], outputs: Sequence[str]) -> list[Step]:
    """Returns the nodes with what can be forgotten after each, so that memory stays low."""
    seen, steps = set(outputs), []
    for node in reversed(nodes):
        names = {name for name in (*node.inputs, *node.outputs) if name}
        steps.append(Step(node=node, done_with=tuple(sorted(names - seen))))
        seen |= names
    return steps[::-1]


def execute(
    steps: Sequence[Step],
    values: dict[str, Value],
    also: Mapping[str, Known],
    like: torch.Tensor,
    *,
    after: Callable[[Node, Sequence[Value]], None] | None = None,
) -> None:
    """Computes the steps in order.

    Args:
        steps: what to compute.
        values: what is known at first, by name; results are put in, and taken out when done with.
        also: small constants among `values`, as Python numbers.
        like: an empty tensor of the device and float type to compute with.
        after: is called with each node and its results.

    Raises:
        TeacherError: an operator cannot be computed; it is named.
    """
    for step in steps:
        results = results_of(step.node, values, also, like)
        if after is not None:
            after(step.node, results)
        values.update({n: r for n, r in zip(step.node.outputs, results, strict=False) if n})
        for name in step.done_with:
            values.pop(name, None)


def results_of(
    node: Node, values: Mapping[str, Value], also: Mapping[str, Known], like: torch.Tensor
) -> Sequence[Value]:
    """Returns what a node gives, at least as many values as it names.

    Raises:
        TeacherError: it cannot be computed.
    """
    try:
        results = _computed(node, values, also, like)
    except torch.OutOfMemoryError:
        raise
    except TeacherError as error:
        raise type(error)(f"the ONNX operator {node} cannot be computed: {error}") from error
    except MISFITS as error:
        reason = (str(error).strip() or type(error).__name__).partition("\n")[0]
        raise TeacherError(f"the ONNX operator {node} cannot be computed: {reason}") from error
    results = [results] if isinstance(results, (torch.Tensor, Known)) else results
    if len(results) < len(node.outputs):
        raise TeacherError(
            f"the ONNX operator {node} is asked for {len(node.outputs)} outputs; "
            f"{len(results)} can be computed here"
        )
    return results


def _computed(
    node: Node, values: Mapping[str, Value], also: Mapping[str, Known], like: torch.Tensor
) -> Value | Sequence[Value]:
    given = [values[name] if name else None for name in node.inputs]
    forms = [
        value if isinstance(value, Known) else also.get(name)
        for name, value in zip(node.inputs, given, strict=True)
    ]
    call = Call(node=node, inputs=given, forms=forms, like=like)
    if not node.domain and any(isinstance(value, Known) for value in given):
        found = _by_python(call)
        if found is not None:
            return found
    return OPERATORS[node.key](call)


def _by_python(call: Call) -> Value | Sequence[Value] | None:
    """Computes with Python numbers if all inputs are such, or have that form too."""
    function = ARITHMETIC.get(call.node.op_type)
    if function is None or any(
        form is None and value is not None
        for form, value in zip(call.forms, call.inputs, strict=True)
    ):
        return None
    return function(call)
