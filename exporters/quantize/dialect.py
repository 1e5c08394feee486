"""How a target wants INT8 written; what differs from one runtime to the next and nothing else."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Dialect"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """Where a target wants QuantizeLinear and DequantizeLinear, and of which numbers.

    Activations are uint8 with a zero point of their own, weights int8 with zero point 0 and one
    scale an output channel, biases int32 at the product of the two scales.
    """

    name: str
    """The target, as `--target` and the file's metadata name it."""
    operators: tuple[str, ...]
    """Operators whose inputs and outputs are quantized; see `graph` for the exceptions."""
    float_outputs: tuple[str, ...]
    """Operators among them whose output stays float."""
    weight_bits: int
    """8, or 7 where the processor's 8-bit products overflow."""
