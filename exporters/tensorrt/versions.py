"""Everything that differs from one version of TensorRT's Python bindings to the next.

    8.6     needs EXPLICIT_BATCH; weakly typed only: flags allow FP16 and INT8
    10.x    EXPLICIT_BATCH is a no-op; strongly typed if asked
    11.x    strongly typed only: the flags for types, the calibrators and EXPLICIT_BATCH are gone
    tensorrt_rtx   as 11; builds without a GPU, for a compute capability that is named

Flags carry other numbers in each, so a member is asked for its own. What is there is found out with
`hasattr`, not from the version: a member is the fact, and a version's number stands for it only as
long as somebody keeps a table.
"""

from __future__ import annotations

from typing import Any

from cake_edge.errors import UsageMistake

__all__ = [
    "aim_at",
    "allow_types",
    "builds_for_named_target",
    "choose_hardware_compatibility",
    "compute_target",
    "device_memory_bytes",
    "dotted",
    "keeps_timing_cache",
    "network_flags",
    "start_runtime",
    "strongly_typed",
    "use_dla",
]

COMPATIBILITY = {
    "ampere+": "AMPERE_PLUS",
    "same-compute-capability": "SAME_COMPUTE_CAPABILITY",
}


def strongly_typed(library: Any, precision: str) -> bool:
    """Whether a network of that precision ("as-written", "fp16") is built strongly typed.

    Raises:
        UsageMistake: the version has no other way than the types in the file.
    """
    if precision == "as-written":
        return hasattr(library.NetworkDefinitionCreationFlag, "STRONGLY_TYPED")
    if not hasattr(library.BuilderFlag, "FP16"):
        raise UsageMistake(
            f"{library.__name__} {library.__version__} computes in the types that the file says "
            "and no other; for FP16 give it a file in FP16 (cake-edge quantize --target "
            "tensorrt-fp16 writes INT8 with the rest in FP16), and leave --precision out"
        )
    return False


def network_flags(library: Any, *, strong: bool) -> int:
    """The bits for `Builder.create_network`."""
    known = library.NetworkDefinitionCreationFlag
    wanted = ("EXPLICIT_BATCH", "STRONGLY_TYPED") if strong else ("EXPLICIT_BATCH",)
    flags = 0
    for name in wanted:
        if hasattr(known, name):
            flags |= 1 << int(getattr(known, name))
    return flags


def allow_types(library: Any, config: Any, network: Any, *, fp16: bool) -> list[str]:
    """Sets the flags without which a weakly typed network may not compute in FP16 and INT8.

    Args:
        fp16: also for what the file says in FP32.

    Returns:
        The names of the flags.
    """
    layers = [network.get_layer(index) for index in range(network.num_layers)]
    wanted = []
    # A float16 file without its flag is refused: "fp16 precision has been set for a layer".
    if fp16 or any(_gives(layer, library.DataType.HALF) for layer in layers):
        wanted.append("FP16")
    if any(layer.type.name in ("QUANTIZE", "DEQUANTIZE") for layer in layers):
        wanted.append("INT8")
    for name in wanted:
        config.set_flag(getattr(library.BuilderFlag, name))
    return wanted


def _gives(layer: Any, kind: Any) -> bool:
    return any(layer.get_output(index).dtype == kind for index in range(layer.num_outputs))


def choose_hardware_compatibility(library: Any, config: Any, wanted: str) -> None:
    """Lets the engine run on other GPUs than this one.

    Raises:
        UsageMistake: the version does not know that level, or ignores all of them.
    """
    known = library.HardwareCompatibilityLevel
    name = COMPATIBILITY[wanted]
    if builds_for_named_target(library) or not hasattr(known, name):
        allowed = [] if builds_for_named_target(library) else _spelled(known)
        raise UsageMistake(
            f"{library.__name__} {library.__version__} has no hardware compatibility {wanted!r}; "
            + (f"allowed: {', '.join(allowed)}" if allowed else "name a compute capability instead")
        )
    config.hardware_compatibility_level = getattr(known, name)


def _spelled(known: Any) -> list[str]:
    return [name for name, member in COMPATIBILITY.items() if hasattr(known, member)]


def use_dla(library: Any, builder: Any, config: Any, core: int) -> None:
    """Puts layers on a deep learning accelerator, and on the GPU what it does not take.

    Raises:
        UsageMistake: this machine has no such core, or this version does not drive it.
    """
    if core >= builder.num_DLA_cores:
        raise UsageMistake(
            f"dla_core is {core}, and {library.__name__} {library.__version__} drives "
            f"{builder.num_DLA_cores} DLA cores on this machine (10.7 was the last 10.x that "
            "drives any); leave it out to build for the GPU"
        )
    config.default_device_type = library.DeviceType.DLA
    config.DLA_core = core
    config.set_flag(library.BuilderFlag.GPU_FALLBACK)


def builds_for_named_target(library: Any) -> bool:
    """Whether it builds for a compute capability that is named, on a machine without a GPU."""
    return hasattr(library, "ComputeCapability")


def keeps_timing_cache(library: Any) -> bool:
    """Whether a timing cache does anything: without a GPU nothing is timed."""
    return not builds_for_named_target(library)


def compute_target(library: Any, wanted: str | None) -> Any:
    """The member of `ComputeCapability` to build for; None is the library's own choice.

    The nearest below `wanted` of the same generation is taken: a GPU of 8.7 runs what is for 8.6.

    Raises:
        UsageMistake: the library builds for nothing of that generation, or cannot be told.
    """
    if wanted is None:
        return None
    if not builds_for_named_target(library):
        raise UsageMistake(
            f"compute_capability is {wanted}, and {library.__name__} builds for the GPU of this "
            "machine alone; leave it out, or build with tensorrt_rtx"
        )
    members = library.ComputeCapability.__members__
    known = {int(name[2:]): each for name, each in members.items() if name[2:].isdecimal()}
    number = int(wanted.replace(".", ""))
    fitting = [each for each in known if each <= number and each // 10 == number // 10]
    if not fitting:
        allowed = ", ".join(map(dotted, sorted(known)))
        raise UsageMistake(
            f"{library.__name__} {library.__version__} builds nothing for compute capability "
            f"{wanted}; it builds for {allowed}"
        )
    return known[max(fitting)]


def aim_at(config: Any, target: Any) -> None:
    """Builds for that member of `ComputeCapability` alone."""
    config.num_compute_capabilities = 1
    config.set_compute_capability(target, 0)


def dotted(number: int) -> str:
    """A compute capability as NVIDIA writes it: 86 is "8.6"."""
    return f"{number // 10}.{number % 10}"


def start_runtime(
    library: Any, log: Any, *, version_compatible: bool = False, dla_core: int | None = None
) -> Any:
    """What opens engines that were built with those settings."""
    runtime = library.Runtime(log)
    if version_compatible:
        # Such an engine carries the code that runs it; without this it is refused.
        runtime.engine_host_code_allowed = True
    if dla_core is not None:
        runtime.DLA_core = dla_core
    return runtime


def device_memory_bytes(engine: Any) -> int:
    """What one execution context of an engine takes on the device, beside the weights."""
    # Since 10 the second form counts beyond 2 GiB; in 11 it is the only one.
    if hasattr(engine, "device_memory_size_v2"):
        return int(engine.device_memory_size_v2)
    return int(engine.device_memory_size)
