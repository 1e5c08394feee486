"""The GPU of this machine, asked of NVIDIA's driver through ctypes.

Asked before any library of NVIDIA's is used: without a driver some of them end the process.
"""

from __future__ import annotations

import ctypes
from dataclasses import asdict, dataclass
from typing import Any

__all__ = ["Gpu", "find_gpu"]

LIBRARY = "libcuda.so.1"
MAJOR, MINOR, INTEGRATED = 75, 76, 18  # CU_DEVICE_ATTRIBUTE_…
NAME_BYTES = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpu:
    """A CUDA device."""

    name: str
    """Such as "Orin" or "NVIDIA H200"."""
    compute_capability: str
    """Such as "8.7"."""
    memory_bytes: int
    """Of the device; on an integrated one, of the whole board."""
    integrated: bool
    """Whether it shares memory with the processor, as on Jetson."""
    driver: str
    """The newest CUDA that the driver knows, such as "12.6"."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def find_gpu() -> Gpu | None:
    """Returns the first CUDA device; None where there is no driver, or it has no device."""
    try:
        library = ctypes.CDLL(LIBRARY)
    except OSError:
        return None
    return describe_gpu(library)


def describe_gpu(library: Any) -> Gpu | None:
    """As `find_gpu`, of a loaded driver library."""
    handle = ctypes.c_int()
    if library.cuInit(0) != 0 or library.cuDeviceGet(ctypes.byref(handle), 0) != 0:
        return None
    name = ctypes.create_string_buffer(NAME_BYTES)
    memory, driver = ctypes.c_size_t(), ctypes.c_int()
    library.cuDeviceGetName(name, NAME_BYTES, handle)
    library.cuDeviceTotalMem_v2(ctypes.byref(memory), handle)
    library.cuDriverGetVersion(ctypes.byref(driver))
    return Gpu(
        name=name.value.decode("utf-8", errors="replace"),
        compute_capability=(
            f"{_attribute(library, MAJOR, handle)}.{_attribute(library, MINOR, handle)}"
        ),
        memory_bytes=memory.value,
        integrated=bool(_attribute(library, INTEGRATED, handle)),
        driver=f"{driver.value // 1000}.{driver.value % 1000 // 10}",
    )


def _attribute(library: Any, number: int, handle: ctypes.c_int) -> int:
    value = ctypes.c_int()
    library.cuDeviceGetAttribute(ctypes.byref(value), number, handle)
    return value.value
