"""TensorRT without TensorRT: modules with exactly the names that each version's bindings have.

`tensorrt_surface.json` holds the members of enums and classes as the real bindings list them, by
version. What a version lacks raises AttributeError here as it does there, on reading and on
assignment; what it has behaves as far as the calls under test need. Numbers of enum members are
their places in the list, which is where they differ between versions.

An engine is JSON; running it gives the mean of every channel. Build rules that are checked: a
network with an open axis needs a profile; a weakly typed one needs the flag of each type in it; up
to 8.6 a batch must be explicit.
"""

# ruff: noqa: N802 - the names are NVIDIA's
from __future__ import annotations

import enum
import importlib
import json
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from reference.fake_cuda import FakeCuda

SURFACE = json.loads(Path(__file__).with_name("tensorrt_surface.json").read_text(encoding="utf-8"))
VERSIONS = tuple(version for version in SURFACE if not version.startswith("rtx-"))
RTX = next(version for version in SURFACE if version.startswith("rtx-"))
KINDS = {
    "Conv": "CONVOLUTION",
    "Gemm": "MATRIX_MULTIPLY",
    "MatMul": "MATRIX_MULTIPLY",
    "QuantizeLinear": "QUANTIZE",
    "DequantizeLinear": "DEQUANTIZE",
}


class _Strict:
    """Takes no attribute that the version's class does not list; own state begins with _.

    A subclass written in Python takes any, as with the real bindings.
    """

    NAMES: frozenset[str] = frozenset()

    def __setattr__(self, name: str, value: Any) -> None:
        own = "NAMES" in vars(type(self))
        if own and not name.startswith("_") and name not in self.NAMES:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        object.__setattr__(self, name, value)


class HostMemory(bytes):
    """IHostMemory: a buffer that knows its size."""

    @property
    def nbytes(self) -> int:
        return len(self)


def fake_tensorrt(version: str, *, cuda: Any = None, dla_cores: int = 0) -> ModuleType:
    """Returns a module like `tensorrt` of that version, or `tensorrt_rtx` for `RTX`.

    Args:
        cuda: where engines run, a `FakeCuda`; None lets nothing run.
        dla_cores: how many the machine has.
    """
    surface = SURFACE[version]
    rtx = version == RTX
    library = ModuleType("tensorrt_rtx" if rtx else "tensorrt")
    library.__version__ = version.removeprefix("rtx-")  # type: ignore[attr-defined]
    for name, members in surface["enums"].items():
        numbers = {
            member: int(member[2:]) if member[:2] == "SM" and member[2:].isdecimal() else index
            for index, member in enumerate(members)
        }
        setattr(library, name, enum.Enum(name, numbers, type=_Numbered))
    makers = _Makers(library, version, cuda, dla_cores)
    for name, names in surface["classes"].items():
        made = getattr(makers, f"make_{name}", None)
        body = made() if made is not None else {}
        public = {k: v for k, v in body.items() if k.startswith("_") or k in names}
        setattr(library, name, type(name, (_Strict,), {**public, "NAMES": frozenset(names)}))
    library.ILogger = makers.logger()  # type: ignore[attr-defined]
    library.nptype = makers.nptype  # type: ignore[attr-defined]
    return library


def fake_machine(
    monkeypatch: pytest.MonkeyPatch, version: str, *, dla_cores: int = 0, gpu: bool = True
) -> FakeCuda:
    """Makes this process a board with that version of TensorRT; children answer in it, too.

    Returns:
        Its CUDA.
    """
    from exporters.runtimes import trt
    from exporters.tensorrt import build, compiler, cudart, layer_profile, probe, probe_process
    from exporters.tensorrt.driver import Gpu

    cuda = FakeCuda()
    library = fake_tensorrt(version, cuda=cuda, dla_cores=dla_cores)
    library.__spec__ = ModuleSpec(library.__name__, None)
    monkeypatch.setitem(sys.modules, library.__name__, library)
    orin = Gpu(
        name="Orin",
        compute_capability="8.7",
        memory_bytes=8 * 2**30,
        integrated=True,
        driver="12.6",
    )
    monkeypatch.setattr(probe_process, "find_gpu", lambda: orin if gpu else None)
    monkeypatch.setattr(cudart, "_candidates", lambda: iter([cuda]))
    uncached = getattr(cudart.load_cudart, "__wrapped__", cudart.load_cudart)
    for module in (cudart, trt):
        monkeypatch.setattr(module, "load_cudart", uncached)
    for module in (build, compiler, layer_profile, probe):
        monkeypatch.setattr(module, "ask_child", _in_this_process)
    return cuda


def _in_this_process(
    module: str, request: dict[str, Any], *, timeout_seconds: float
) -> dict[str, Any]:
    work = importlib.import_module(module).answer
    reply: dict[str, Any] = json.loads(json.dumps(work(json.loads(json.dumps(request)))))
    return reply


class _Numbered:
    """pybind11 enums turn to int and are none."""

    _value_: int

    def __int__(self) -> int:
        return self._value_


class _Makers:
    """The behaviour of each class; names that the version lacks are dropped afterwards."""

    def __init__(self, library: Any, version: str, cuda: Any, dla_cores: int) -> None:
        self.library, self.version, self.cuda, self.dla_cores = library, version, cuda, dla_cores
        self.rtx = version == RTX

    def logger(self) -> type:
        class ILogger:
            Severity = enum.Enum(
                "Severity", ["INTERNAL_ERROR", "ERROR", "WARNING", "INFO", "VERBOSE"], start=0
            )

            def __init__(self) -> None:
                self._base_was_made = True

        return ILogger

    def nptype(self, kind: Any) -> Any:
        known = {"FLOAT": np.float32, "HALF": np.float16, "INT8": np.int8}
        if kind.name not in known:
            raise TypeError("Could not resolve TensorRT datatype to an equivalent numpy datatype.")
        return known[kind.name]

    def make_Builder(self) -> dict[str, Any]:
        library, makers = self.library, self

        def init(self: Any, log: Any) -> None:
            assert log._base_was_made
            self._log = log

        def create_network(self: Any, flags: int = 0) -> Any:
            known = library.NetworkDefinitionCreationFlag.__members__
            assert flags < 1 << len(known)
            network = library.INetworkDefinition()
            network._flags = {n for n, member in known.items() if flags & 1 << int(member)}
            return network

        def build(self: Any, network: Any, config: Any) -> Any:
            why = makers.refusal(network, config)
            if why is not None:
                self._log.log(library.ILogger.Severity.ERROR, why)
                return None
            self._log.log(library.ILogger.Severity.WARNING, "one")
            return HostMemory(json.dumps(makers.engine(network, config)).encode())

        return {
            "__init__": init,
            "num_DLA_cores": self.dla_cores,
            "create_network": create_network,
            "create_builder_config": lambda self: library.IBuilderConfig(),
            "create_optimization_profile": lambda self: library.IOptimizationProfile(),
            "build_serialized_network": build,
        }

    def refusal(self, network: Any, config: Any) -> str | None:
        """Why the version would not build that."""
        strong = "STRONGLY_TYPED" in network._flags or self.always_strong
        if self.version.startswith("8.") and "EXPLICIT_BATCH" not in network._flags:
            return "implicit batch"
        if any(-1 in port._shape for port in network._inputs) and not config._profiles:
            return "Network has dynamic or shape inputs, but no optimization profile"
        kinds = {layer._kind for layer in network._layers}
        if not strong and kinds & {"QUANTIZE", "DEQUANTIZE"} and "INT8" not in config._flags:
            return "int8 is not configured in the builder"
        if not strong and network._half and "FP16" not in config._flags:
            return "fp16 precision has been set for a layer, but fp16 is not configured"
        if strong and config._flags & {"FP16", "INT8"}:
            return "precision flags are not allowed in a strongly typed network"
        return None

    @property
    def always_strong(self) -> bool:
        return "FP16" not in SURFACE[self.version]["enums"]["BuilderFlag"]

    def engine(self, network: Any, config: Any) -> dict[str, Any]:
        shape = list(network._inputs[0]._shape)
        return {
            "version": self.version,
            "shape": shape,
            "profile": config._profiles[0] if config._profiles else [shape] * 3,
            "flags": sorted(config._flags),
            "pools": config._pools,
            "level": getattr(config, "_level", None),
            "dla": config.__dict__.get("DLA_core"),
            "timed": config._timed,
            "layers": [[layer._name, layer._kind, layer._half] for layer in network._layers],
        }

    def make_INetworkDefinition(self) -> dict[str, Any]:
        def init(self: Any) -> None:
            self._inputs, self._layers, self._half = [], [], False

        return {
            "__init__": init,
            "num_inputs": property(lambda self: len(self._inputs)),
            "num_layers": property(lambda self: len(self._layers)),
            "get_input": lambda self, index: self._inputs[index],
            "get_layer": lambda self, index: self._layers[index],
        }

    def make_ITensor(self) -> dict[str, Any]:
        return {
            "name": property(lambda self: self._name),
            "shape": property(lambda self: self._shape),
            "dtype": property(lambda self: self._dtype),
        }

    def make_ILayer(self) -> dict[str, Any]:
        library = self.library

        def get_output(self: Any, index: int) -> Any:
            tensor = library.ITensor()
            kind = "HALF" if self._half else "FLOAT"
            tensor._dtype = getattr(library.DataType, kind)
            return tensor

        return {
            "name": property(lambda self: self._name),
            "type": property(lambda self: getattr(library.LayerType, self._kind)),
            "num_outputs": 1,
            "get_output": get_output,
        }

    def make_OnnxParser(self) -> dict[str, Any]:
        library = self.library

        def init(self: Any, network: Any, log: Any) -> None:
            self._network = network

        def parse(self: Any, path: str) -> bool:
            import onnx

            model = onnx.load(path)
            network = self._network
            network._half = any(t.data_type == 10 for t in model.graph.initializer)
            for value in model.graph.input:
                tensor = library.ITensor()
                dims = value.type.tensor_type.shape.dim
                tensor._name = value.name
                tensor._shape = tuple(d.dim_value if d.HasField("dim_value") else -1 for d in dims)
                network._inputs.append(tensor)
            for node in model.graph.node:
                layer = library.ILayer()
                layer._name, layer._half = node.name, network._half
                layer._kind = KINDS.get(node.op_type, "IDENTITY")
                network._layers.append(layer)
            return True

        return {
            "__init__": init,
            "num_errors": 0,
            "get_error": lambda self, index: None,
            "parse_from_file": parse,
        }

    def make_IOptimizationProfile(self) -> dict[str, Any]:
        def set_shape(self: Any, name: str, least: Any, usual: Any, most: Any) -> None:
            self._shapes = [list(least), list(usual), list(most)]

        return {"set_shape": set_shape}

    def make_IBuilderConfig(self) -> dict[str, Any]:
        library = self.library

        def init(self: Any) -> None:
            self._flags, self._profiles, self._pools = {"TF32"}, [], {}
            self._timed = None

        def set_level(self: Any, level: int) -> None:
            self._level = level

        def set_timing_cache(self: Any, cache: Any, ignore_mismatch: bool) -> bool:
            self._timed = len(cache._content)
            return not cache._content or cache._content.startswith(b"timed")

        def create_timing_cache(self: Any, content: bytes) -> Any:
            cache = library.ITimingCache()
            cache._content = bytes(content)
            return cache

        return {
            "__init__": init,
            "set_flag": lambda self, flag: self._flags.add(flag.name),
            "clear_flag": lambda self, flag: self._flags.discard(flag.name),
            "set_memory_pool_limit": lambda self, pool, size: self._pools.update({pool.name: size}),
            "builder_optimization_level": property(lambda self: 3, set_level),
            "add_optimization_profile": lambda self, profile: self._profiles.append(
                profile._shapes
            ),
            "create_timing_cache": create_timing_cache,
            "set_timing_cache": set_timing_cache,
            "set_compute_capability": lambda self, target, index: None,
        }

    def make_ITimingCache(self) -> dict[str, Any]:
        return {"serialize": lambda self: HostMemory(b"timed" + self._content[5:] + b"+")}

    def make_Runtime(self) -> dict[str, Any]:
        library, version = self.library, self.version

        def init(self: Any, log: Any) -> None:
            self._log = log

        def deserialize(self: Any, content: bytes) -> Any:
            try:
                plan = json.loads(bytes(content))
                right = plan["version"] == version
            except ValueError:
                right = False
            if not right:
                self._log.log(library.ILogger.Severity.ERROR, "Version tag does not match.")
                return None
            if "VERSION_COMPATIBLE" in plan["flags"] and not self.__dict__.get(
                "engine_host_code_allowed"
            ):
                self._log.log(library.ILogger.Severity.ERROR, "host code is not allowed")
                return None
            engine = library.ICudaEngine()
            engine._plan = plan
            return engine

        return {"__init__": init, "deserialize_cuda_engine": deserialize}

    def make_ICudaEngine(self) -> dict[str, Any]:
        library = self.library

        def mode(self: Any, name: str) -> Any:
            return getattr(library.TensorIOMode, "INPUT" if name == "input" else "OUTPUT")

        def shape(self: Any, name: str) -> tuple[int, ...]:
            whole = tuple(self._plan["shape"])
            return whole if name == "input" else whole[:2]

        def context(self: Any) -> Any:
            made = library.IExecutionContext()
            made._plan, made._addresses, made._shape = self._plan, {}, None
            return made

        def inspector(self: Any) -> Any:
            made = library.EngineInspector()
            made._plan = self._plan
            return made

        return {
            "num_io_tensors": 2,
            "get_tensor_name": lambda self, index: ("input", "logits")[index],
            "get_tensor_mode": mode,
            "get_tensor_shape": shape,
            "get_tensor_dtype": lambda self, name: library.DataType.FLOAT,
            "get_tensor_profile_shape": lambda self, name, index: self._plan["profile"],
            "create_execution_context": context,
            "create_engine_inspector": inspector,
            "device_memory_size": 4096,
            "device_memory_size_v2": 8192,
        }

    def make_EngineInspector(self) -> dict[str, Any]:
        """Engines of up to 10 and of 11 tell the same in other words."""
        new = self.always_strong

        def tensor(half: bool, known: bool) -> dict[str, Any]:
            if new:
                return {"Format": "LINEAR", "DataType": "FP16" if half else "FP32"}
            if not known:
                return {"Format/Datatype": "N/A due to dynamic shapes"}
            return {"Format/Datatype": f"Row major linear {'FP16' if half else 'FP32'} format"}

        def information(self: Any, form: Any) -> str:
            assert form.name == "JSON"
            context = self.__dict__.get("execution_context")
            known = -1 not in self._plan["shape"] or (context is not None and context._shape)
            layers = [
                {
                    "Name": name,
                    "LayerType": "CaskConvolution" if kind == "CONVOLUTION" else "Reformat",
                    "Inputs": [{"Name": "a", **tensor(half, known)}],
                    "Outputs": [{"Name": "b", **tensor(half, known)}],
                    "Metadata": f"[ONNX Layer: {name}]",
                }
                for name, kind, half in self._plan["layers"]
            ]
            ports = {"I/O Tensors": [{"Name": "input"}]} if new else {"Bindings": ["input"]}
            return json.dumps({"Layers": layers, **ports})

        return {"get_engine_information": information}

    def make_IExecutionContext(self) -> dict[str, Any]:
        cuda = self.cuda

        def set_input_shape(self: Any, name: str, shape: Any) -> bool:
            least, _, most = self._plan["profile"]
            fits = len(shape) == len(least) and all(
                low <= size <= high for low, size, high in zip(least, shape, most, strict=True)
            )
            if fits:
                self._shape = tuple(shape)
            return fits

        def set_address(self: Any, name: str, address: int) -> bool:
            self._addresses[name] = address
            return True

        def run(self: Any) -> None:
            images = cuda.view(self._addresses["input"], np.float32, self._shape)
            logits = cuda.view(self._addresses["logits"], np.float32, self._shape[:2])
            logits[...] = images.mean((2, 3))
            clock = self.__dict__.get("profiler")
            if clock is not None:
                for index, (name, _, _) in enumerate(self._plan["layers"]):
                    clock.report_layer_time(name, float(index + 1))

        def execute(self: Any, stream: int) -> bool:
            return bool(cuda.start(stream, lambda: run(self)))

        return {
            "set_input_shape": set_input_shape,
            "get_tensor_shape": lambda self, name: self._shape[:2],
            "set_tensor_address": set_address,
            "execute_async_v3": execute,
        }
