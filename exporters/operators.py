"""What the name of an ONNX operator says of the numbers it computes with."""

from __future__ import annotations

__all__ = ["is_integer_operator"]

PREFIXES = ("QLinear", "QGemm", "QAttention", "DynamicQuantize")


def is_integer_operator(op_type: str) -> bool:
    """Whether it computes in integers what the usual operator computes in float."""
    return op_type.startswith(PREFIXES) or "Integer" in op_type
