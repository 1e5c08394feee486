"""What an engine is to be like: the settings of `engine_from_onnx`, and of a trtexec command."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from cake_edge.errors import UsageMistake

__all__ = ["COMPATIBILITY", "PRECISIONS", "EngineConfig", "check_compute_capability"]

PRECISIONS = ("as-written", "fp16")
COMPATIBILITY = ("ampere+", "same-compute-capability")
LEVELS = (0, 5)


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineConfig:
    """How to build an engine; None leaves TensorRT's own default."""

    precision: str = "as-written"
    """"as-written" computes in the types that the file says: strongly typed where the version
    knows it. "fp16" leaves what is not quantized to the builder, FP16 or FP32, whichever is
    faster: weakly typed, for versions before 11."""
    batches: tuple[int, int, int] = (1, 1, 8)
    """Smallest, usual and largest batch, where the file leaves it open."""
    sizes: tuple[tuple[int, int], tuple[int, int], tuple[int, int]] | None = None
    """Smallest, usual and largest image (height, width), where the file leaves those open."""
    workspace_bytes: int | None = None
    """Most memory that one layer may use beside its tensors."""
    optimisation_level: int | None = None
    """0 to 5: how long the builder may look for faster kernels; its own default is 3."""
    tf32: bool = True
    """Whether FP32 products may be rounded to TF32, as they are on Ampere and later."""
    timing_cache: Path | None = None
    """A file with measured kernel times, read where it is there and written anew: the next build
    on the same device measures less."""
    dla_core: int | None = None
    """The deep learning accelerator to run on; what it does not take runs on the GPU."""
    hardware_compatibility: str | None = None
    """"ampere+" or "same-compute-capability": the engine runs on other GPUs too, more slowly."""
    version_compatible: bool = False
    """Whether later versions of TensorRT may run the engine; it then carries code of its own."""
    compute_capability: str | None = None
    """The GPU to build for, such as 8.9, with `tensorrt_rtx` alone; None is Ampere and later."""

    def __post_init__(self) -> None:
        if self.precision not in PRECISIONS:
            raise UsageMistake(f"precision is {self.precision!r}; allowed: {', '.join(PRECISIONS)}")
        _check_batches(self.batches)
        if self.sizes is not None:
            _check_sizes(self.sizes)
        if self.workspace_bytes is not None and self.workspace_bytes < 1:
            raise UsageMistake(f"workspace_bytes is {self.workspace_bytes}; it must be at least 1")
        level = self.optimisation_level
        if level is not None and not LEVELS[0] <= level <= LEVELS[1]:
            raise UsageMistake(f"optimisation_level is {level}; allowed: 0 to 5")
        if self.dla_core is not None and self.dla_core < 0:
            raise UsageMistake(f"dla_core is {self.dla_core}; cores are counted from 0")
        wanted = self.hardware_compatibility
        if wanted is not None and wanted not in COMPATIBILITY:
            raise UsageMistake(
                f"hardware_compatibility is {wanted!r}; allowed: {', '.join(COMPATIBILITY)}"
            )
        if self.compute_capability is not None:
            check_compute_capability(self.compute_capability)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; of the timing cache only whether there is one.

        Where that file lies changes how long a build takes, not what is asked for.
        """
        values = {each.name: getattr(self, each.name) for each in fields(self)}
        return {
            **values,
            "batches": list(self.batches),
            "sizes": None if self.sizes is None else [list(size) for size in self.sizes],
            "timing_cache": self.timing_cache is not None,
        }


def check_compute_capability(given: str) -> None:
    """Refuses what is not a number of NVIDIA's for a GPU.

    Raises:
        UsageMistake: it is not of the form 8.7.
    """
    major, dot, minor = given.partition(".")
    if not (dot and major.isdecimal() and minor.isdecimal() and len(minor) == 1):
        raise UsageMistake(
            f"compute_capability is {given!r}; it is NVIDIA's number for a GPU, "
            "such as 8.7 for Jetson Orin"
        )


def _check_batches(batches: tuple[int, int, int]) -> None:
    smallest, usual, largest = batches
    if not 1 <= smallest <= usual <= largest:
        raise UsageMistake(
            f"batches is {batches}; smallest, usual and largest must be at least 1, and in order"
        )


def _check_sizes(sizes: tuple[tuple[int, int], tuple[int, int], tuple[int, int]]) -> None:
    for axis in zip(*sizes, strict=True):
        if not 1 <= axis[0] <= axis[1] <= axis[2]:
            raise UsageMistake(
                f"sizes is {sizes}; smallest, usual and largest (height, width) must be at least "
                "1, and in order"
            )
