"""TensorRT: an engine on NVIDIA's GPU."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt

from cake_edge.errors import ArtifactError, UsageMistake
from exporters.artifact import ModelCard
from exporters.optional import import_package
from exporters.tensorrt.build import cached_engine
from exporters.tensorrt.compiler import INSTALLS, installed_module
from exporters.tensorrt.config import EngineConfig
from exporters.tensorrt.cudart import load_cudart
from exporters.tensorrt.manifest import Manifest, read_manifest
from exporters.tensorrt.probe import RUNS_FIRST
from exporters.tensorrt.running import DYNAMIC, RunningEngine

__all__ = ["OnDevice", "StepTimes", "TensorRTSession", "open_tensorrt"]

Images = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class StepTimes:
    """One inference by the clock of the GPU, in milliseconds."""

    to_device: float
    """The copy of the images."""
    compute: float
    """The network alone."""
    to_host: float
    """The copy of the logits."""


def open_tensorrt(
    path: Path,
    *,
    threads: int = 1,
    fixed_batch: int | None = None,
    optimise: bool = True,
    cuda_graph: bool = False,
) -> TensorRTSession:
    """Opens an engine; an ONNX file is built first, or taken from the cache of engines.

    Args:
        threads: of no consequence: the GPU does the work.
        fixed_batch: the only batch size that will be asked for.
        optimise: an engine is always optimised; False is refused.
        cuda_graph: launch the whole network as one CUDA graph.

    Raises:
        As `TensorRTSession` and `cached_engine`.
    """
    if path.suffix == ".onnx":
        if fixed_batch is not None and fixed_batch < 1:
            raise UsageMistake(f"fixed_batch is {fixed_batch}; it must be at least 1")
        load_cudart()  # before minutes of building what could not run
        config = EngineConfig(batches=(fixed_batch,) * 3) if fixed_batch else EngineConfig()
        module = installed_module(None, preferred=RUNS_FIRST)
        path = cached_engine(path, config, module=module).path
    return TensorRTSession(
        path, threads=threads, fixed_batch=fixed_batch, optimise=optimise, cuda_graph=cuda_graph
    )


class TensorRTSession:
    """A classifier open in TensorRT: one image input, one logit output."""

    def __init__(
        self,
        path: Path,
        *,
        threads: int = 1,
        fixed_batch: int | None = None,
        optimise: bool = True,
        cuda_graph: bool = False,
    ) -> None:
        """Opens `path`; the arguments are those of `open_tensorrt`.

        Raises:
            ArtifactError: the file is missing, no engine, of another version or GPU, or not a
                classifier of images.
            UsageMistake: a number is below 1, or optimise is False.
            RuntimeUnavailable: TensorRT is not installed, or does not load.
            DeviceUnavailable: there is no GPU.
        """
        _check(threads, fixed_batch, optimise)
        if not path.is_file():
            raise ArtifactError(
                f"{path} does not exist or is not a file; name an engine, or an ONNX file"
            )
        self._path = path
        self._manifest = read_manifest(path)
        self._card = None if self._manifest is None else self._manifest.model_card()
        self._module = installed_module(
            None if self._manifest is None else self._manifest.module, preferred=RUNS_FIRST
        )
        library: Any = import_package(self._module, install=INSTALLS[self._module])
        self._version = str(library.__version__)
        _check_version(path, self._manifest, self._version)
        self._cuda_graph = cuda_graph
        self._fixed_batch = fixed_batch
        self._running: RunningEngine | None = RunningEngine(path, library, self._manifest)
        try:
            self._open()
        except Exception:
            self._running.close()
            raise

    def _open(self) -> None:
        running = self._engine()
        given, got = running.input.shape, running.output.shape
        if len(given) != 4 or len(got) != 2:
            raise ArtifactError(
                f"{self._path} takes shape {list(given)} and gives {list(got)}; a classifier of "
                "images takes [batch, C, H, W] and gives [batch, classes]"
            )
        if self._fixed_batch is not None:
            running.reshape((self._fixed_batch, *running.bounds[1][1:]))

    def _engine(self) -> RunningEngine:
        if self._running is None:
            raise ArtifactError(f"{self._path} is closed; open it again")
        return self._running

    @property
    def card(self) -> ModelCard | None:
        """The card of the file it was built from, or None where that was not one of ours."""
        return self._card

    @property
    def input_shape(self) -> tuple[int | None, ...]:
        """(batch, C, H, W); None where any size within the profile will do."""
        return tuple(None if size == DYNAMIC else size for size in self._engine().input.shape)

    def infer(self, images: Images) -> Images:
        """Takes images [N, C, H, W] of the model's input space to logits [N, classes].

        Both lie in host memory: the copies to the GPU and back are part of it.

        Raises:
            ArtifactError: the images do not fit the model, or the session is closed.
        """
        running = self._ready(images)
        running.load(images)
        running.enqueue()
        running.fetch()
        running.wait()
        return running.output.host.astype(np.float32)

    def times(self, images: Images) -> StepTimes:
        """Runs one inference as `infer` does, and asks the GPU when each step began and ended.

        Raises:
            ArtifactError: as `infer`.
        """
        running = self._ready(images)
        events = running.events(4)
        start, copied, computed, done = events
        try:
            running.mark(start)
            running.load(images)
            running.mark(copied)
            running.enqueue()
            running.mark(computed)
            running.fetch()
            running.mark(done)
            running.wait()
            return StepTimes(
                to_device=running.between(start, copied),
                compute=running.between(copied, computed),
                to_host=running.between(computed, done),
            )
        finally:
            running.forget(events)

    def on_device(self, images: Images) -> OnDevice:
        """Puts images on the GPU once, to measure the network without its copies.

        Raises:
            ArtifactError: as `infer`.
        """
        return OnDevice(self._ready(images), self.infer(images))

    def _ready(self, images: Images) -> RunningEngine:
        running = self._engine()
        if images.ndim != 4 or images.dtype != np.float32 or len(images) == 0:
            raise ArtifactError(
                f"{self._path} takes float32 [batch, C, H, W], and was given {images.dtype} of "
                f"shape {list(images.shape)}"
            )
        running.reshape(images.shape)
        if self._cuda_graph:
            running.capture()
        return running

    def describe(self) -> dict[str, Any]:
        """What shapes a measured time: runtime, version, device, options."""
        manifest = self._manifest
        return {
            "runtime": "tensorrt",
            "version": self._version,
            "providers": [self._module],
            "threads": None,
            "options": {
                "cuda_graph": self._cuda_graph,
                "fixed_batch": self._fixed_batch,
                "gpu": None if manifest is None else manifest.gpu,
                "typing": None if manifest is None else manifest.typing,
                "build": None if manifest is None else dict(manifest.config),
                "context_bytes": self._engine().device_memory_bytes,
            },
        }

    def __enter__(self) -> TensorRTSession:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._running is not None:
            self._running.close()
            self._running = None


class OnDevice:
    """Images that lie on the GPU already; what is timed is the network, started and waited for."""

    def __init__(self, running: RunningEngine, logits: Images) -> None:
        self._running = running
        self._logits = logits

    def infer(self, images: Images) -> Images:
        """Runs the network on the images it was made with, whatever is given; returns their logits.

        Calls of the session in between must be of the same batch, or this takes another time.
        """
        self._running.enqueue()
        self._running.wait()
        return self._logits


def _check(threads: int, fixed_batch: int | None, optimise: bool) -> None:
    if threads < 1:
        raise UsageMistake(f"threads is {threads}; it must be at least 1")
    if fixed_batch is not None and fixed_batch < 1:
        raise UsageMistake(f"fixed_batch is {fixed_batch}; it must be at least 1")
    if not optimise:
        raise UsageMistake(
            "optimise is False, and an engine is optimised when it is built; for a file as it is "
            "written, open the ONNX file with the runtime 'ort'"
        )


def _check_version(path: Path, manifest: Manifest | None, version: str) -> None:
    if manifest is None or manifest.version == version or manifest.config["version_compatible"]:
        return
    raise ArtifactError(
        f"{path} was built with {manifest.module} {manifest.version}, and this is {version}, which "
        "does not open it; build it again here, or with --version-compatible"
    )
