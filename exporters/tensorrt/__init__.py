"""NVIDIA TensorRT: what its own compiler makes of an ONNX file. Needs neither torch nor onnx."""

from __future__ import annotations

from exporters.tensorrt.compiler import CompileResult, compile_onnx

__all__ = ["CompileResult", "compile_onnx"]
