"""A CUDA runtime in host memory: records its calls, and knows what was not given back.

Work on a stream is done when it is waited for, in order, so that what forgets to wait reads what
was there before.
"""

# ruff: noqa: N802 - the names are NVIDIA's
from __future__ import annotations

import ctypes
from collections.abc import Callable
from itertools import count
from typing import Any

import numpy as np

TO_DEVICE, TO_HOST = 1, 2


class FakeCuda:
    """Stands in the place of the library that `exporters.tensorrt.cudart` loads."""

    def __init__(self, *, devices: int = 1, code: int = 0) -> None:
        self.calls: list[str] = []
        self.device: dict[int, Any] = {}
        self.host: dict[int, Any] = {}
        self.alive: set[int] = set()
        """Streams, events and graphs that were not given back."""
        self.fails: dict[str, int] = {}
        """Calls that are to be refused, and with which code."""
        self._numbers = count(1000)
        self._pending: list[Callable[[], None]] = []
        self._capturing: list[Callable[[], None]] | None = None
        self._graphs: dict[int, list[Callable[[], None]]] = {}
        self._clock = 0.0
        self._times: dict[int, float] = {}
        self._devices, self._code = devices, code
        for name in dir(type(self)):
            if name.startswith("do_cuda"):
                setattr(self, name.removeprefix("do_"), self._counted(name))

    def _counted(self, name: str) -> Callable[..., Any]:
        work, plain = getattr(self, name), name.removeprefix("do_")

        # A function of its own: like one of ctypes it takes argtypes.
        def call(*arguments: Any) -> Any:
            self.calls.append(plain)
            return self.fails[plain] if plain in self.fails else work(*arguments) or 0

        return call

    @property
    def leaks(self) -> int:
        """How much was not given back."""
        return len(self.device) + len(self.host) + len(self.alive)

    def view(self, address: int, dtype: Any, shape: tuple[int, ...]) -> Any:
        """Device memory as an array; fails where nothing, or too little, was allocated."""
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        return np.frombuffer(self.device[address], np.uint8, size).view(dtype).reshape(shape)

    def start(self, stream: int, work: Callable[[], None]) -> bool:
        """What a context does when it is enqueued."""
        (self._pending if self._capturing is None else self._capturing).append(work)
        return True

    def _made(self, reference: Any) -> int:
        number = next(self._numbers)
        self.alive.add(number)
        reference._obj.value = number
        return number

    def do_cudaGetDeviceCount(self, reference: Any) -> int:
        reference._obj.value = self._devices
        return self._code

    def do_cudaGetErrorString(self, code: int) -> bytes:
        return b"what CUDA says"

    def _allocate(self, where: dict[int, Any], reference: Any, size: int) -> None:
        buffer = ctypes.create_string_buffer(size)
        where[ctypes.addressof(buffer)] = buffer
        reference._obj.value = ctypes.addressof(buffer)

    def do_cudaMalloc(self, reference: Any, size: int) -> None:
        self._allocate(self.device, reference, size)

    def do_cudaMallocHost(self, reference: Any, size: int) -> None:
        self._allocate(self.host, reference, size)

    def do_cudaFree(self, address: int) -> None:
        del self.device[address]

    def do_cudaFreeHost(self, address: int) -> None:
        del self.host[address]

    def do_cudaMemcpyAsync(self, to: int, source: int, size: int, kind: int, stream: int) -> None:
        there, here = (self.device, self.host) if kind == TO_DEVICE else (self.host, self.device)
        assert size <= len(there[to])
        assert size <= len(here[source])
        self.start(stream, lambda: ctypes.memmove(to, source, size) and None)

    def do_cudaStreamCreateWithFlags(self, reference: Any, flags: int) -> None:
        self._made(reference)

    def do_cudaStreamSynchronize(self, stream: int) -> None:
        assert self._capturing is None
        assert stream in self.alive
        while self._pending:
            self._pending.pop(0)()
            self._clock += 1.5

    def do_cudaStreamDestroy(self, stream: int) -> None:
        self.alive.remove(stream)

    def do_cudaEventCreate(self, reference: Any) -> None:
        self._made(reference)

    def do_cudaEventRecord(self, event: int, stream: int) -> None:
        def note() -> None:
            self._clock -= 1.5  # an event takes no time
            self._times[event] = self._clock + 1.5

        self.start(stream, note)

    def do_cudaEventElapsedTime(self, reference: Any, a: int, b: int) -> None:
        reference._obj.value = self._times[b] - self._times[a]

    def do_cudaEventDestroy(self, event: int) -> None:
        self.alive.remove(event)

    def do_cudaStreamBeginCapture(self, stream: int, mode: int) -> None:
        assert not self._pending
        self._capturing = []

    def do_cudaStreamEndCapture(self, stream: int, reference: Any) -> None:
        assert self._capturing is not None
        self._graphs[self._made(reference)] = self._capturing
        self._capturing = None

    def do_cudaGraphInstantiateWithFlags(self, reference: Any, graph: Any, flags: int) -> None:
        self._graphs[self._made(reference)] = self._graphs[graph.value]

    def do_cudaGraphLaunch(self, graph: int, stream: int) -> None:
        self._pending.extend(self._graphs[graph])

    def do_cudaGraphDestroy(self, graph: Any) -> None:
        self.alive.remove(graph.value)

    def do_cudaGraphExecDestroy(self, graph: int) -> None:
        self.alive.remove(graph)
