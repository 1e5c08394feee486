"""Makes an engine with NVIDIA's library: parse, configure, build, and look at what came out.

Runs in a child process (see `child`), with the library loaded there. What differs from one version
to the next is in `versions`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from exporters.tensorrt import versions
from exporters.tensorrt.config import EngineConfig
from exporters.tensorrt.layers import (
    Layer,
    layers_from_inspector,
    layers_from_log,
    summarise_layers,
)
from exporters.tensorrt.listener import listener
from exporters.tensorrt.messages import clean_errors, clean_log
from exporters.tensorrt.precision import coverage_from_layers

__all__ = ["Built", "build"]

BATCH, HEIGHT, WIDTH = 0, 2, 3


@dataclass(slots=True, kw_only=True)
class Built:
    """How far a build came, and what it gave."""

    stage: str = "parse"
    """"parse" or "build": where it ended."""
    messages: list[str] = field(default_factory=list)
    """Why there is no engine."""
    warnings: list[str] = field(default_factory=list)
    """What the library did not like and did all the same."""
    engine: Any = None
    """The serialized engine, a buffer with `nbytes`; None where there is none."""
    timing_cache: bytes | None = None
    """What the build measured, for the next one."""
    typing: str = ""
    """"strong", or "weak" with the flags that were set."""
    compute_capability: str = ""
    """"8.6"; "present" for the GPU of this machine; "8.0 and later" for the library's choice."""
    profile: dict[str, list[list[int]]] = field(default_factory=dict)
    """By input: smallest, usual and largest shape, where the file leaves some of it open."""
    layers: dict[str, Any] | None = None
    """As `summarise_layers`; None where the library does not tell."""
    coverage: dict[str, Any] | None = None
    """As `CompileResult.coverage`."""


def build(
    library: Any,
    path: str,
    config: EngineConfig,
    *,
    timing_cache: bytes | None = None,
    inspect: bool = False,
) -> Built:
    """Parses and builds an ONNX file.

    Args:
        library: the module `tensorrt` or `tensorrt_rtx`.
        timing_cache: what an earlier build measured; None measures anew and keeps nothing.
        inspect: a GPU is here, so the engine itself can be asked for its layers.

    Raises:
        UsageMistake: the configuration asks for what this version or machine does not have.
    """
    # First what is refused without work. The target also says which GPU messages speak of.
    target = versions.compute_target(library, config.compute_capability)
    strong = versions.strongly_typed(library, config.precision)
    log = listener(library)
    builder = library.Builder(log)
    network = builder.create_network(versions.network_flags(library, strong=strong))
    parser = library.OnnxParser(network, log)
    done = Built(compute_capability=_told(library, target))
    parsed = parser.parse_from_file(path)
    done.messages = clean_errors([parser.get_error(each) for each in range(parser.num_errors)])
    if parsed:
        done.stage = "build"
        done.messages = _unbounded(network, config)
    if parsed and not done.messages:
        settings = _settings(library, builder, config, target)
        flags = [] if strong else _allow(library, settings, network, config)
        done.typing = "strong" if strong else " ".join(["weak", *flags])
        done.profile = _profile(builder, settings, network, config)
        cache = _begin_timing(library, settings, timing_cache)
        done.engine = builder.build_serialized_network(network, settings)
        if done.engine is None:
            done.messages = clean_log(log.said("ERROR"))
        else:
            done.timing_cache = bytes(cache.serialize()) if cache is not None else None
            layers = _inspected(library, log, done, config) if inspect else None
            if layers is None:
                layers = layers_from_log(log.said("VERBOSE"))
            if layers is not None:
                done.layers = summarise_layers(layers)
                done.coverage = coverage_from_layers(layers, _weighted(network))
    done.warnings = clean_log(log.said("WARNING"))
    return done


def _told(library: Any, target: Any) -> str:
    if target is not None:
        return versions.dotted(int(target))
    return "8.0 and later" if versions.builds_for_named_target(library) else "present"


def _inputs(network: Any) -> list[Any]:
    return [network.get_input(index) for index in range(network.num_inputs)]


def _open_axes(port: Any) -> list[int]:
    return [axis for axis, size in enumerate(port.shape) if size == -1]


def _unbounded(network: Any, config: EngineConfig) -> list[str]:
    """Says which inputs no optimization profile can be written for."""
    known = {BATCH} if config.sizes is None else {BATCH, HEIGHT, WIDTH}
    have = "the batch, axis 0" if config.sizes is None else "batch, height and width"
    return [
        f"input {port.name!r} has shape {list(port.shape)}: a profile needs sizes for every "
        f"dynamic axis, and they are known for {have}, alone"
        for port in _inputs(network)
        if not known.issuperset(_open_axes(port))
    ]


def _settings(library: Any, builder: Any, config: EngineConfig, target: Any) -> Any:
    settings = builder.create_builder_config()
    settings.profiling_verbosity = library.ProfilingVerbosity.DETAILED
    if target is not None:
        versions.aim_at(settings, target)
    if config.workspace_bytes is not None:
        settings.set_memory_pool_limit(library.MemoryPoolType.WORKSPACE, config.workspace_bytes)
    if config.optimisation_level is not None:
        settings.builder_optimization_level = config.optimisation_level
    if not config.tf32:
        settings.clear_flag(library.BuilderFlag.TF32)
    if config.hardware_compatibility is not None:
        versions.choose_hardware_compatibility(library, settings, config.hardware_compatibility)
    if config.version_compatible:
        settings.set_flag(library.BuilderFlag.VERSION_COMPATIBLE)
    if config.dla_core is not None:
        versions.use_dla(library, builder, settings, config.dla_core)
    return settings


def _allow(library: Any, settings: Any, network: Any, config: EngineConfig) -> list[str]:
    return versions.allow_types(library, settings, network, fp16=config.precision == "fp16")


def _profile(
    builder: Any, settings: Any, network: Any, config: EngineConfig
) -> dict[str, list[list[int]]]:
    """Adds the optimization profile that dynamic inputs need, and returns its shapes."""
    shapes = {port.name: _shapes(port, config) for port in _inputs(network) if _open_axes(port)}
    if shapes:
        profile = builder.create_optimization_profile()
        for name, sizes in shapes.items():
            profile.set_shape(name, *sizes)
        settings.add_optimization_profile(profile)
    return shapes


def _shapes(port: Any, config: EngineConfig) -> list[list[int]]:
    """Smallest, usual and largest shape of an input."""
    found = []
    sizes: Sequence[tuple[int, int]] = config.sizes or ((-1, -1),) * 3
    for batch, (height, width) in zip(config.batches, sizes, strict=True):
        wanted = {BATCH: batch, HEIGHT: height, WIDTH: width}
        found.append([wanted[a] if size == -1 else size for a, size in enumerate(port.shape)])
    return found


def _begin_timing(library: Any, settings: Any, stored: bytes | None) -> Any:
    """A timing cache that starts from what an earlier build measured; None where it is no use."""
    if stored is None or not versions.keeps_timing_cache(library):
        return None
    cache = settings.create_timing_cache(stored)
    # Of another version, device, or damaged: then this build measures for itself.
    if cache is None or not settings.set_timing_cache(cache, False):
        cache = settings.create_timing_cache(b"")
        settings.set_timing_cache(cache, False)
    return cache


def _inspected(
    library: Any, log: Any, done: Built, config: EngineConfig
) -> tuple[Layer, ...] | None:
    """The layers as the engine itself tells them; None where it does not open."""
    runtime = versions.start_runtime(
        library, log, version_compatible=config.version_compatible, dla_core=config.dla_core
    )
    opened = runtime.deserialize_cuda_engine(done.engine)
    if opened is None:
        return None
    inspector = opened.create_engine_inspector()
    context = opened.create_execution_context() if done.profile else None
    if context is not None:
        # Up to 10 an engine with open axes tells no types but for a shape that is set.
        for name, (_, usual, _) in done.profile.items():
            context.set_input_shape(name, usual)
        inspector.execution_context = context
    text = inspector.get_engine_information(library.LayerInformationFormat.JSON)
    return layers_from_inspector(text)


def _weighted(network: Any) -> Mapping[str, str]:
    """Layers that multiply, by name: the kind of operator they came from."""
    kinds = {"CONVOLUTION": "Conv", "DECONVOLUTION": "Conv", "MATRIX_MULTIPLY": "MatMul"}
    layers = map(network.get_layer, range(network.num_layers))
    return {layer.name: kinds[layer.type.name] for layer in layers if layer.type.name in kinds}
