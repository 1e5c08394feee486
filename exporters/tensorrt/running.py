"""An engine open on the GPU: one input, one output, and the memory of both on either side.

The calls are those that 8.6 and 11 share: tensors by name, addresses set once, `execute_async_v3`.
Work is started on one stream in order; nothing is waited for but by `wait`.
"""

from __future__ import annotations

import ctypes
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cake_edge.errors import ArtifactError, DeviceUnavailable
from exporters.tensorrt import versions
from exporters.tensorrt.cudart import CudaRuntime
from exporters.tensorrt.listener import listener
from exporters.tensorrt.manifest import Manifest
from exporters.tensorrt.messages import clean_log

__all__ = ["Port", "RunningEngine"]

Array = npt.NDArray[Any]
DYNAMIC = -1


@dataclass(slots=True, kw_only=True)
class Port:
    """An input or output: where it lies on the device, and where on the host."""

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    """Of the engine; -1 where any size between the profile's bounds will do."""
    host: Array = field(default_factory=lambda: np.empty(0))
    """A view of pinned memory, in the shape of the call."""
    device_address: int = 0
    host_address: int = 0
    capacity: int = 0


class RunningEngine:
    """An engine, its context, a stream and buffers; `close` gives everything back."""

    def __init__(self, path: Path, library: Any, manifest: Manifest | None) -> None:
        """Opens `path` with the module `library`.

        Raises:
            ArtifactError: the library does not open it, or it is not one image input and one
                output.
            DeviceUnavailable: there is no GPU, or its memory does not do.
        """
        self._path = path
        self._cuda = CudaRuntime()  # first: the library may end a process that has no driver
        self._library = library
        self._log = listener(library, chatter=False)
        self._graph = 0
        self._stream = 0
        self._ports: list[Port] = []
        self._runtime = self._start(manifest)
        self._engine = self._opened("deserialize_cuda_engine", self._runtime, path.read_bytes())
        self.context = self._opened("create_execution_context", self._engine)
        self._stream = self._cuda.create_stream()
        try:
            self.input, self.output = self._find_ports()
        except Exception:
            self.close()
            raise
        self._ports = [self.input, self.output]

    def _start(self, manifest: Manifest | None) -> Any:
        config = {} if manifest is None else manifest.config
        return versions.start_runtime(
            self._library,
            self._log,
            version_compatible=config.get("version_compatible", False),
            dla_core=config.get("dla_core"),
        )

    def _opened(self, call: str, owner: Any, *arguments: Any) -> Any:
        # No exception, but None: and the reason in the log.
        found = getattr(owner, call)(*arguments)
        if found is None:
            why = "; ".join(clean_log(self._log.said("ERROR"))) or "it does not say why"
            raise ArtifactError(
                f"{self._library.__name__} {self._library.__version__} does not open "
                f"{self._path}: {why}. An engine runs on the kind of GPU and with the version "
                "that it was built for; build it again here with cake-edge build"
            )
        return found

    def _find_ports(self) -> tuple[Port, Port]:
        inputs, outputs = list[Port](), list[Port]()
        for index in range(self._engine.num_io_tensors):
            name = self._engine.get_tensor_name(index)
            taken = self._engine.get_tensor_mode(name) == self._library.TensorIOMode.INPUT
            (inputs if taken else outputs).append(self._port(name))
        if len(inputs) != 1 or len(outputs) != 1:
            raise ArtifactError(
                f"{self._path} has {len(inputs)} inputs and {len(outputs)} outputs; "
                "a classifier has one of each"
            )
        return inputs[0], outputs[0]

    def _port(self, name: str) -> Port:
        kind = self._engine.get_tensor_dtype(name)
        try:
            dtype = np.dtype(self._library.nptype(kind))
        except TypeError as error:
            raise ArtifactError(
                f"{self._path} has {name!r} of type {kind.name}, which numpy does not have; "
                "build it from a file with float32 or float16 input and output"
            ) from error
        return Port(name=name, dtype=dtype, shape=tuple(self._engine.get_tensor_shape(name)))

    @property
    def bounds(self) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
        """Smallest, usual and largest shape of the input."""
        if DYNAMIC not in self.input.shape:
            return (self.input.shape,) * 3
        shapes = self._engine.get_tensor_profile_shape(self.input.name, 0)
        smallest, usual, largest = (tuple(shape) for shape in shapes)
        return smallest, usual, largest

    @property
    def device_memory_bytes(self) -> int:
        """What the context takes on the device, beside weights, input and output."""
        return versions.device_memory_bytes(self._engine)

    def inspect(self) -> str:
        """The inspector's JSON, with the types that hold for the shape that is set."""
        inspector = self._engine.create_engine_inspector()
        inspector.execution_context = self.context
        return str(inspector.get_engine_information(self._library.LayerInformationFormat.JSON))

    def reshape(self, shape: tuple[int, ...]) -> None:
        """Makes ready for inputs of that shape; does nothing where it already is.

        Raises:
            ArtifactError: the shape is outside the profile.
        """
        if self.input.host.shape == shape:
            return
        self._drop_graph()
        if not self.context.set_input_shape(self.input.name, shape):
            smallest, _, largest = self.bounds
            raise ArtifactError(
                f"{self._path} takes {list(smallest)} to {list(largest)}, and was given "
                f"{list(shape)}; build it for other batches"
            )
        self._fit(self.input, shape)
        self._fit(self.output, tuple(self.context.get_tensor_shape(self.output.name)))

    def _fit(self, port: Port, shape: tuple[int, ...]) -> None:
        size = max(math.prod(shape), 1) * port.dtype.itemsize
        if size > port.capacity:
            self._free(port)
            port.device_address = self._cuda.allocate(size)
            port.host_address = self._cuda.allocate_host(size)
            port.capacity = size
            self.context.set_tensor_address(port.name, port.device_address)
        memory = (ctypes.c_char * size).from_address(port.host_address)
        port.host = np.frombuffer(memoryview(memory), port.dtype, math.prod(shape)).reshape(shape)

    def load(self, images: Array) -> None:
        """Puts images of the shape that is set into pinned memory, and starts their copy."""
        np.copyto(self.input.host, images, casting="same_kind")
        port = self.input
        self._cuda.copy_to_device(
            port.device_address, port.host_address, port.host.nbytes, self._stream
        )

    def enqueue(self) -> None:
        """Starts one inference.

        Raises:
            DeviceUnavailable: TensorRT refuses, and why.
        """
        if self._graph:
            self._cuda.launch(self._graph, self._stream)
        elif not self.context.execute_async_v3(self._stream):
            why = "; ".join(clean_log(self._log.said("ERROR"))) or "it does not say why"
            raise DeviceUnavailable(f"TensorRT stopped in the middle of {self._path}: {why}")

    def fetch(self) -> None:
        """Starts the copy of the output into pinned memory."""
        port = self.output
        self._cuda.copy_to_host(
            port.host_address, port.device_address, port.host.nbytes, self._stream
        )

    def wait(self) -> None:
        """Returns when all that was started is done."""
        self._cuda.wait(self._stream)

    def capture(self) -> None:
        """Makes later inferences of this shape one launch of a graph, in place of many kernels."""
        if self._graph:
            return
        # Once without: the first run allocates, which a capture may not.
        self.enqueue()
        self.wait()
        self._cuda.begin_capture(self._stream)
        try:
            self.enqueue()
        finally:
            graph = self._cuda.end_capture(self._stream)
        self._graph = graph

    def events(self, count: int) -> list[int]:
        """Returns that many new events; `forget` gives them back."""
        return [self._cuda.create_event() for _ in range(count)]

    def mark(self, event: int) -> None:
        """Lets the event happen when the stream has come this far."""
        self._cuda.record(event, self._stream)

    def between(self, first: int, second: int) -> float:
        """Milliseconds of the device's clock between two events that have happened."""
        return self._cuda.elapsed_ms(first, second)

    def forget(self, events: list[int]) -> None:
        """Gives events back."""
        for event in events:
            self._cuda.destroy_event(event)

    def close(self) -> None:
        """Gives back memory, stream, context and engine; the second time does nothing."""
        self._drop_graph()
        for port in self._ports:
            self._free(port)
        self._ports = []
        if self._stream:
            self._cuda.destroy_stream(self._stream)
            self._stream = 0
        # In this order: each needs the one that follows.
        self.context = self._engine = self._runtime = None

    def _drop_graph(self) -> None:
        if self._graph:
            self._cuda.destroy_graph(self._graph)
            self._graph = 0

    def _free(self, port: Port) -> None:
        port.host = np.empty(0)
        if port.capacity:
            self._cuda.free(port.device_address)
            self._cuda.free_host(port.host_address)
            port.capacity = 0
