"""CUDA's runtime through ctypes: memory, streams, events and graphs, and nothing to install.

A library that the process has loaded already (torch's, say) is taken before any other, so that one
process does not end up with two of them.
"""

from __future__ import annotations

import ctypes
import os
import site
from collections.abc import Iterator
from ctypes import POINTER, c_char_p, c_float, c_int, c_size_t, c_uint, c_ulonglong, c_void_p
from functools import cache
from pathlib import Path
from typing import Any

from cake_edge.errors import DeviceUnavailable, RuntimeUnavailable

__all__ = ["CudaRuntime", "load_cudart"]

NAMES = ("libcudart.so.13", "libcudart.so.12", "libcudart.so.11.0", "libcudart.so")
WHEELS = ("nvidia/cu13/lib", "nvidia/cu12/lib", "nvidia/cuda_runtime/lib")
"""Where wheels of the CUDA runtime put it, under site-packages."""
TOOLKITS = ("lib64", "targets/aarch64-linux/lib", "targets/x86_64-linux/lib")
INSTALL = "pip install nvidia-cuda-runtime"

HANDLE = POINTER(c_void_p)
SIGNATURES: dict[str, tuple[Any, ...]] = {
    "cudaGetDeviceCount": (POINTER(c_int),),
    "cudaMalloc": (HANDLE, c_size_t),
    "cudaFree": (c_void_p,),
    "cudaMallocHost": (HANDLE, c_size_t),
    "cudaFreeHost": (c_void_p,),
    "cudaMemcpyAsync": (c_void_p, c_void_p, c_size_t, c_int, c_void_p),
    "cudaStreamCreateWithFlags": (HANDLE, c_uint),
    "cudaStreamSynchronize": (c_void_p,),
    "cudaStreamDestroy": (c_void_p,),
    "cudaEventCreate": (HANDLE,),
    "cudaEventRecord": (c_void_p, c_void_p),
    "cudaEventElapsedTime": (POINTER(c_float), c_void_p, c_void_p),
    "cudaEventDestroy": (c_void_p,),
    "cudaStreamBeginCapture": (c_void_p, c_int),
    "cudaStreamEndCapture": (c_void_p, HANDLE),
    # Not cudaGraphInstantiate, whose arguments changed with CUDA 12.
    "cudaGraphInstantiateWithFlags": (HANDLE, c_void_p, c_ulonglong),
    "cudaGraphLaunch": (c_void_p, c_void_p),
    "cudaGraphDestroy": (c_void_p,),
    "cudaGraphExecDestroy": (c_void_p,),
}
TO_DEVICE, TO_HOST = 1, 2
NON_BLOCKING = 1
THREAD_LOCAL = 1  # capture: other threads may go on using CUDA


@cache
def load_cudart() -> Any:
    """Loads the CUDA runtime and sees that it finds a device.

    Raises:
        RuntimeUnavailable: there is none on this machine.
        DeviceUnavailable: none of those that are here finds a device.
    """
    refusals = []
    for library in _candidates():
        count = c_int()
        _declare(library)
        code = library.cudaGetDeviceCount(ctypes.byref(count))
        if code == 0 and count.value > 0:
            return library
        refusals.append(_reason(library, code) if code else "it sees no device")
    if refusals:
        raise DeviceUnavailable(
            f"no CUDA device answers ({refusals[0]}); run on a machine with an NVIDIA GPU and its "
            "driver"
        )
    raise RuntimeUnavailable(f"the CUDA runtime (libcudart) is not on this machine: {INSTALL}")


def _candidates() -> Iterator[Any]:
    for name in NAMES:
        library = _open(name, os.RTLD_NOLOAD | os.RTLD_NOW)
        if library is not None:
            yield library
    for place in (*NAMES, *map(str, _files())):
        library = _open(place, os.RTLD_NOW)
        if library is not None:
            yield library


def _open(place: str, mode: int) -> Any:
    try:
        return ctypes.CDLL(place, mode=mode)
    except OSError:
        return None


def _files() -> Iterator[Path]:
    roots = [Path(place, wheel) for place in site.getsitepackages() for wheel in WHEELS]
    toolkit = os.environ.get("CUDA_HOME", "/usr/local/cuda")
    for folder in (*roots, *(Path(toolkit, inner) for inner in TOOLKITS)):
        yield from sorted(folder.glob("libcudart.so*"), reverse=True)


def _declare(library: Any) -> None:
    for name, arguments in SIGNATURES.items():
        function = getattr(library, name)
        function.argtypes, function.restype = arguments, c_int
    library.cudaGetErrorString.argtypes = (c_int,)
    library.cudaGetErrorString.restype = c_char_p


def _reason(library: Any, code: int) -> str:
    text = library.cudaGetErrorString(code) or b"unknown error"
    return f"{text.decode('utf-8', errors='replace')}, CUDA error {code}"


class CudaRuntime:
    """The few calls that a session needs; each checks what CUDA answers.

    Addresses, streams, events and graphs are plain integers; who makes one gives it back.
    Every method raises `DeviceUnavailable` where CUDA refuses.
    """

    def __init__(self) -> None:
        self._library = load_cudart()

    def _call(self, name: str, *arguments: Any) -> None:
        code = getattr(self._library, name)(*arguments)
        if code != 0:
            raise DeviceUnavailable(f"{name} failed: {_reason(self._library, code)}")

    def _made(self, name: str, *arguments: Any) -> int:
        handle = c_void_p()
        self._call(name, ctypes.byref(handle), *arguments)
        return handle.value or 0

    def allocate(self, size: int) -> int:
        """Returns the address of `size` bytes on the device."""
        return self._made("cudaMalloc", size)

    def free(self, address: int) -> None:
        """Gives back what `allocate` took."""
        self._call("cudaFree", address)

    def allocate_host(self, size: int) -> int:
        """Returns the address of `size` bytes of pinned host memory, which copies do not stage."""
        return self._made("cudaMallocHost", size)

    def free_host(self, address: int) -> None:
        """Gives back what `allocate_host` took."""
        self._call("cudaFreeHost", address)

    def copy_to_device(self, device: int, host: int, size: int, stream: int) -> None:
        """Starts a copy of `size` bytes."""
        self._call("cudaMemcpyAsync", device, host, size, TO_DEVICE, stream)

    def copy_to_host(self, host: int, device: int, size: int, stream: int) -> None:
        """Starts a copy of `size` bytes."""
        self._call("cudaMemcpyAsync", host, device, size, TO_HOST, stream)

    def create_stream(self) -> int:
        """Returns a stream that does not wait for the default one."""
        return self._made("cudaStreamCreateWithFlags", NON_BLOCKING)

    def wait(self, stream: int) -> None:
        """Returns when all that was started on the stream is done."""
        self._call("cudaStreamSynchronize", stream)

    def destroy_stream(self, stream: int) -> None:
        """Gives back what `create_stream` made."""
        self._call("cudaStreamDestroy", stream)

    def create_event(self) -> int:
        """Returns an event that remembers its time."""
        return self._made("cudaEventCreate")

    def record(self, event: int, stream: int) -> None:
        """Lets the event happen when the stream has come this far."""
        self._call("cudaEventRecord", event, stream)

    def elapsed_ms(self, first: int, second: int) -> float:
        """Milliseconds of the device's clock between two events that have happened."""
        found = c_float()
        self._call("cudaEventElapsedTime", ctypes.byref(found), first, second)
        return found.value

    def destroy_event(self, event: int) -> None:
        """Gives back what `create_event` made."""
        self._call("cudaEventDestroy", event)

    def begin_capture(self, stream: int) -> None:
        """From here on the stream's work is written down and not done."""
        self._call("cudaStreamBeginCapture", stream, THREAD_LOCAL)

    def end_capture(self, stream: int) -> int:
        """Returns what was written down, as a graph that can be launched."""
        graph = c_void_p()
        self._call("cudaStreamEndCapture", stream, ctypes.byref(graph))
        try:
            return self._made("cudaGraphInstantiateWithFlags", graph, 0)
        finally:
            self._call("cudaGraphDestroy", graph)

    def launch(self, graph: int, stream: int) -> None:
        """Starts a captured graph."""
        self._call("cudaGraphLaunch", graph, stream)

    def destroy_graph(self, graph: int) -> None:
        """Gives back what `end_capture` made."""
        self._call("cudaGraphExecDestroy", graph)
