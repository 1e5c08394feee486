"""The GPU is described by what its driver says, and its absence is no error."""

from __future__ import annotations

import ctypes
from typing import Any

from exporters.tensorrt.driver import Gpu, describe_gpu, find_gpu


class Driver:
    """libcuda of a Jetson Orin."""

    def __init__(self, code: int = 0) -> None:
        self.code = code

    def cuInit(self, flags: int) -> int:  # noqa: N802 - CUDA's names
        return self.code

    def cuDeviceGet(self, reference: Any, index: int) -> int:  # noqa: N802
        reference._obj.value = 7
        return 0

    def cuDeviceGetName(self, buffer: Any, size: int, handle: Any) -> int:  # noqa: N802
        assert handle.value == 7
        buffer.value = b"Orin"
        return 0

    def cuDeviceTotalMem_v2(self, reference: Any, handle: Any) -> int:  # noqa: N802
        reference._obj.value = 8 * 2**30
        return 0

    def cuDriverGetVersion(self, reference: Any) -> int:  # noqa: N802
        reference._obj.value = 12060
        return 0

    def cuDeviceGetAttribute(self, reference: Any, number: int, handle: Any) -> int:  # noqa: N802
        reference._obj.value = {75: 8, 76: 7, 18: 1}[number]
        return 0


def test_a_gpu_is_described() -> None:
    assert describe_gpu(Driver()) == Gpu(
        name="Orin",
        compute_capability="8.7",
        memory_bytes=8 * 2**30,
        integrated=True,
        driver="12.6",
    )


def test_a_driver_without_a_device_is_no_gpu() -> None:
    assert describe_gpu(Driver(code=100)) is None


def test_no_driver_is_no_gpu(monkeypatch: Any) -> None:
    def missing(name: str) -> None:
        raise OSError(f"{name}: cannot open shared object file")

    monkeypatch.setattr(ctypes, "CDLL", missing)
    assert find_gpu() is None
