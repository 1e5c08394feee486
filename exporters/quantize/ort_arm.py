"""ONNX Runtime on 64-bit ARM processors.

Its kernels there multiply signed bytes by signed bytes without a detour. Everything else is as on
x86: integer operators only where the output, too, goes straight into QuantizeLinear.
"""

from __future__ import annotations

from dataclasses import replace

from exporters.quantize.ort_x86 import ORT_X86

__all__ = ["ORT_ARM"]

ORT_ARM = replace(ORT_X86, name="ort-arm", processor="arm", signed=True)
