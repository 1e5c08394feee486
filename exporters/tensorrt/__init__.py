"""NVIDIA TensorRT: what it makes of an ONNX file, and engines. Needs neither torch nor onnx."""

from __future__ import annotations

from exporters.tensorrt.build import EngineReport, cached_engine, engine_from_onnx
from exporters.tensorrt.cache import default_cache
from exporters.tensorrt.compiler import CompileResult, compile_onnx
from exporters.tensorrt.config import EngineConfig
from exporters.tensorrt.manifest import Manifest, read_manifest
from exporters.tensorrt.probe import Probe, probe_tensorrt

__all__ = [
    "CompileResult",
    "EngineConfig",
    "EngineReport",
    "Manifest",
    "Probe",
    "cached_engine",
    "compile_onnx",
    "default_cache",
    "engine_from_onnx",
    "probe_tensorrt",
    "read_manifest",
]
