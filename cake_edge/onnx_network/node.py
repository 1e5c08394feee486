"""One node of a graph, and one call of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from cake_edge.errors import TeacherError
from cake_edge.onnx_network.known import Known
from cake_edge.onnx_network.refusals import DataDependent

__all__ = ["Call", "Node", "Operator", "Value"]

Value = torch.Tensor | Known


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """An operator of a graph, with its attributes as plain Python values and tensors."""

    op_type: str
    """As in ONNX: Conv, Gemm, ..."""
    domain: str
    """Empty for the operators of ONNX itself."""
    opset: int
    """Version of its domain that the model was written for."""
    name: str
    """For messages; may be empty."""
    attributes: Mapping[str, Any]
    """Numbers, strings, lists of numbers, tensors."""
    inputs: tuple[str, ...]
    """Names of values; an empty one is an input left out."""
    outputs: tuple[str, ...]
    """Names of values; an empty one is not asked for."""

    @property
    def key(self) -> tuple[str, str]:
        """Where the table of operators has it."""
        return (self.domain, self.op_type)

    def __str__(self) -> str:
        place = self.name or next((name for name in self.outputs if name), "")
        return f"{self.op_type} {place!r}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """What an operator's function is given."""

    node: Node
    """The node that is computed."""
    inputs: Sequence[Value | None]
    """Its inputs; None for those left out."""
    forms: Sequence[Known | None]
    """Its inputs as Python numbers, where they are such or have that form too."""
    like: torch.Tensor
    """Empty; on the device and of the float type that the network computes with."""

    @property
    def opset(self) -> int:
        """Version of the node's domain."""
        return self.node.opset

    def get(self, name: str, default: Any = None) -> Any:
        """Returns an attribute."""
        return self.node.attributes.get(name, default)

    def wants(self, index: int) -> bool:
        """Whether the graph uses the node's output number `index`."""
        return index < len(self.node.outputs) and bool(self.node.outputs[index])

    def value(self, index: int) -> Value | None:
        """Returns an input as it is, or None if it was left out."""
        return self.inputs[index] if index < len(self.inputs) else None

    def maybe(self, index: int) -> torch.Tensor | None:
        """Returns an input as a tensor, or None if it was left out."""
        value = self.value(index)
        return value.tensor(self.like) if isinstance(value, Known) else value

    def tensor(self, index: int) -> torch.Tensor:
        """Returns an input as a tensor.

        Raises:
            TeacherError: it was left out.
        """
        found = self.maybe(index)
        if found is None:
            raise TeacherError(f"input {index} is missing")
        return found

    def tensors(self) -> list[torch.Tensor]:
        """Returns all inputs as tensors."""
        return [self.tensor(index) for index in range(len(self.inputs))]

    def numbers(self, index: int) -> list[Any] | None:
        """Returns an input as Python numbers, flat, or None if it was left out.

        Raises:
            DataDependent: it is computed from the images, and only its shape is known.
        """
        value = self.value(index)
        if value is None:
            return None
        form = self.forms[index]
        if form is not None:
            return list(form.values)
        assert isinstance(value, torch.Tensor)
        if value.is_meta:
            raise DataDependent(f"input {index} depends on the images")
        return value.reshape(-1).tolist()

    def either(self, name: str, index: int, since: int) -> list[Any] | None:
        """Returns what is an attribute before an opset, and an input since."""
        found = self.numbers(index) if self.opset >= since else self.get(name)
        return None if found is None else list(found)


Operator = Callable[[Call], Value | Sequence[Value]]
