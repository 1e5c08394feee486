"""How a target wants INT8 written; what differs from one runtime to the next and nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["Dialect"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """Where a target wants QuantizeLinear and DequantizeLinear, and of which numbers.

    Weights are int8 with zero point 0 and one scale an output channel everywhere.
    """

    name: str
    """The target, as `--target` and the file's metadata name it."""
    runtime: Literal["ort", "tensorrt"]
    """What runs the file: "ort" can be measured here, where the processor is of the kind."""
    processor: Literal["x86", "arm", "nvidia"]
    """What it runs on."""
    operators: tuple[str, ...]
    """Operators whose inputs and outputs are quantized; see `graph` for the exceptions."""
    float_outputs: tuple[str, ...]
    """Operators among them whose output stays float."""
    weight_bits: int = 8
    """8, or 7 where the processor's 8-bit products overflow."""
    signed: bool = False
    """Whether activations are int8; else they are uint8."""
    symmetric: bool = False
    """Whether the zero point of every activation is 0."""
    integer_bias: bool = True
    """Whether biases are int32 at the product of the two scales; else they stay float."""
    residuals: bool = False
    """Whether the branch that is added to a convolution's output is quantized before the sum."""
    body: Literal["float32", "float16"] = "float32"
    """Type of everything that is not quantized."""
