"""ONNX Runtime on x86 processors without VNNI.

There uint8 times int8 goes through an instruction that adds two products in 16 bits and clamps:
255 * 127 * 2 does not fit. Weights of 7 bits do, at the price of one bit.
"""

from __future__ import annotations

from dataclasses import replace

from exporters.quantize.ort_x86 import ORT_X86

__all__ = ["ORT_X86_NOVNNI"]

ORT_X86_NOVNNI = replace(ORT_X86, name="ort-x86-novnni", weight_bits=7)
