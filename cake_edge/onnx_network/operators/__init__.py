"""The operators that a graph may use: one table, filled by one file a family."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from cake_edge.onnx_network.node import Operator
from cake_edge.onnx_network.operators import (
    activation,
    convolution,
    elementwise,
    indexing,
    matrix,
    microsoft,
    normalisation,
    pooling,
    reduction,
    resize,
    shape,
)

__all__ = ["OPERATORS"]

FAMILIES = (
    activation,
    convolution,
    elementwise,
    indexing,
    matrix,
    normalisation,
    pooling,
    reduction,
    resize,
    shape,
)

OPERATORS: Mapping[tuple[str, str], Operator] = MappingProxyType(
    {("", name): function for family in FAMILIES for name, function in family.OPERATORS.items()}
    | {(microsoft.DOMAIN, name): function for name, function in microsoft.OPERATORS.items()}
)
"""(domain, name) -> function; ONNX's own domain is the empty one."""
