"""Targets whose files have few-bit weights and float activations: for transformers.

Their matrix products take all the memory and most of the time, and their activations are what
INT8 costs accuracy on. With weights in blocks of 8 or 4 bits, ONNX Runtime's MatMulNBits reads less
and needs no range of any activation: it rounds them to 8 bits itself, each block by its own
largest value, as it runs. Convolutions have no such operator and stay float.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["ORT_W4", "ORT_W8", "WeightOnly"]


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightOnly:
    """How the weights of matrix products are rounded; nothing else is."""

    name: str
    """The target, as `--target` and the file's metadata name it."""
    bits: Literal[4, 8]
    """Of each weight."""
    block: int
    """Weights of one output that share a scale."""
    precision: str
    """What the file's card calls it."""
    runtime: Literal["ort"] = "ort"
    """What runs the file."""
    processor: Literal["any"] = "any"
    """What it runs on: the operator has kernels for every processor."""


# Blocks as measured on a ViT-S, one image and one thread of an AVX512-VNNI processor: in 8 bits,
# blocks of 32 gain 2 dB and lose a seventh of the speed; in 4, blocks of 128 would lose 3 dB.
ORT_W8 = WeightOnly(name="ort-w8", bits=8, block=128, precision="int8")
ORT_W4 = WeightOnly(name="ort-w4", bits=4, block=32, precision="int4")
