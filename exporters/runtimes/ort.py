"""ONNX Runtime on the processor."""

from __future__ import annotations

import os
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt

from cake_edge.errors import ArtifactError, RuntimeUnavailable, UsageMistake
from exporters.artifact import ModelCard, card_from_metadata
from exporters.optional import import_package

__all__ = ["OrtSession", "open_inference_session", "session_options"]

PROVIDER = "CPUExecutionProvider"
INSTALL = "pip install onnxruntime"
FATAL = 4  # log severity: what goes wrong comes back as an exception, said once and by us
# Spinning threads burn a shared core while they wait, and make every other process's time noise.
ENTRIES = {
    "session.intra_op.allow_spinning": "0",
    "session.inter_op.allow_spinning": "0",
}


def session_options(*, threads: int = 1, optimise: bool = True) -> Any:
    """Returns session options chosen for a classifier on a processor that is shared.

    Args:
        threads: threads inside one operator; operators run one after another, as a classifier's
            graph is a chain and has nothing to run beside it.
        optimise: False runs the graph as it is written, so an INT8 file is computed in float with
            its values rounded: the reference for what its fused form gives.

    Raises:
        UsageMistake: fewer than one thread.
        RuntimeUnavailable: ONNX Runtime is not installed.
    """
    if threads < 1:
        raise UsageMistake(f"threads is {threads}; it must be at least 1")
    ort = import_package("onnxruntime", install=INSTALL)
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    levels = ort.GraphOptimizationLevel
    options.graph_optimization_level = levels.ORT_ENABLE_ALL if optimise else levels.ORT_DISABLE_ALL
    options.log_severity_level = FATAL
    for key, value in ENTRIES.items():
        options.add_session_config_entry(key, value)
    return options


def open_inference_session(model: str | bytes, options: Any, *, what: str) -> Any:
    """Opens a file's name or a model's bytes on the processor, and nowhere else.

    Args:
        what: how an error message names the model.

    Raises:
        ArtifactError: ONNX Runtime cannot read or run it.
        RuntimeUnavailable: it runs somewhere else than asked.
    """
    ort = import_package("onnxruntime", install=INSTALL)
    state = import_package("onnxruntime.capi.onnxruntime_pybind11_state", install=INSTALL)
    refusals = (
        state.Fail,
        state.InvalidArgument,
        state.InvalidGraph,
        state.InvalidProtobuf,
        state.NoModel,
        state.NoSuchFile,
        state.NotImplemented,
        state.RuntimeException,
    )
    try:
        session = ort.InferenceSession(model, options, providers=[PROVIDER])
    except refusals as error:
        raise ArtifactError(
            f"{what} is not a model ONNX Runtime {ort.__version__} can open "
            f"({_first_line(error)}); give a whole ONNX file, or export it again"
        ) from error
    if session.get_providers() != [PROVIDER]:
        raise RuntimeUnavailable(
            f"ONNX Runtime opened {what} on {', '.join(session.get_providers())}, not on {PROVIDER}"
        )
    return session


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0][:300]


class OrtSession:
    """A classifier open in ONNX Runtime: one float32 image input, one logit output."""

    def __init__(
        self,
        path: Path,
        *,
        threads: int = 1,
        optimise: bool = True,
        fixed_batch: int | None = None,
    ) -> None:
        """Opens `path`; the arguments are those of `session_options` and `open_session`.

        Raises:
            ArtifactError: the file is missing, not ONNX, or not a classifier of images.
            UsageMistake: threads or fixed_batch is below 1.
        """
        if fixed_batch is not None and fixed_batch < 1:
            raise UsageMistake(f"fixed_batch is {fixed_batch}; it must be at least 1")
        if not path.is_file():
            raise ArtifactError(f"{path} does not exist or is not a file; name an ONNX file")
        self._path = path
        self._threads = threads
        self._optimise = optimise
        self._fixed_batch = fixed_batch
        self._session: Any = self._open(batch_name=None)
        self._input, self._output = self._ports()
        batch = self._input.shape[0]
        if fixed_batch is not None and isinstance(batch, str):
            self._session = self._open(batch_name=batch)
            self._input, self._output = self._ports()
        elif fixed_batch not in (None, batch) and batch is not None:
            raise ArtifactError(
                f"{path} was made for batches of {batch} images, and {fixed_batch} were asked "
                f"for; ask for {batch}, or export it with a dynamic batch"
            )
        try:
            self._card = card_from_metadata(self._session.get_modelmeta().custom_metadata_map)
        except ArtifactError as error:
            raise ArtifactError(f"{path}: {error}") from error

    def _open(self, batch_name: str | None) -> Any:
        options = session_options(threads=self._threads, optimise=self._optimise)
        if batch_name is not None:
            options.add_free_dimension_override_by_name(batch_name, self._fixed_batch)
        return open_inference_session(os.fspath(self._path), options, what=str(self._path))

    def _ports(self) -> tuple[Any, Any]:
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        if len(inputs) != 1 or len(outputs) != 1:
            raise ArtifactError(
                f"{self._path} has {len(inputs)} inputs and {len(outputs)} outputs; "
                "a classifier has one of each"
            )
        if inputs[0].type != "tensor(float)" or len(inputs[0].shape) != 4:
            raise ArtifactError(
                f"{self._path} takes {inputs[0].type} of shape {inputs[0].shape}; "
                "a classifier of images takes float32 [batch, C, H, W]"
            )
        if outputs[0].type != "tensor(float)" or len(outputs[0].shape) != 2:
            raise ArtifactError(
                f"{self._path} gives {outputs[0].type} of shape {outputs[0].shape}; "
                "a classifier gives float32 [batch, classes]"
            )
        return inputs[0], outputs[0]

    @property
    def card(self) -> ModelCard | None:
        """What the file says of itself, or None where it is not one of ours."""
        return self._card

    @property
    def input_shape(self) -> tuple[int | str | None, ...]:
        """(batch, C, H, W); a name or None where any size will do."""
        return tuple(self._input.shape)

    def infer(self, images: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Takes images [N, C, H, W] of the model's input space to logits [N, classes].

        A file that fixes its batch is shown any number of images part by part, the last part
        filled up with its last image, unless `fixed_batch` asked for that number alone.

        Raises:
            ArtifactError: the images do not fit the model, or the session is closed.
        """
        if self._session is None:
            raise ArtifactError(f"{self._path} is closed; open it again")
        batch = self._input.shape[0]
        if isinstance(batch, int) and self._fixed_batch is None and len(images) not in (0, batch):
            return self._in_parts(images, batch)
        self._check(images)
        logits: npt.NDArray[np.float32] = self._session.run(
            [self._output.name], {self._input.name: images}
        )[0]
        return logits

    def _in_parts(self, images: npt.NDArray[np.float32], batch: int) -> npt.NDArray[np.float32]:
        """Answers `batch` images at a time."""
        missing = -len(images) % batch
        full = np.concatenate([images, np.repeat(images[-1:], missing, axis=0)])
        parts = [self.infer(part) for part in np.split(full, len(full) // batch)]
        return np.concatenate(parts)[: len(images)]

    def _check(self, images: npt.NDArray[np.float32]) -> None:
        wanted = self._input.shape
        fits = images.ndim == 4 and all(
            not isinstance(size, int) or size == given
            for size, given in zip(wanted, images.shape, strict=True)
        )
        if not fits or images.dtype != np.float32 or len(images) == 0:
            raise ArtifactError(
                f"{self._path} takes float32 of shape {wanted}, and was given {images.dtype} of "
                f"shape {list(images.shape)}"
            )

    def describe(self) -> dict[str, Any]:
        """What shapes a measured time: runtime, version, providers, threads, options."""
        ort = import_package("onnxruntime", install=INSTALL)
        return {
            "runtime": "ort",
            "version": ort.__version__,
            "providers": [PROVIDER],
            "threads": self._threads,
            "options": {
                "optimise": self._optimise,
                "fixed_batch": self._fixed_batch,
                "execution_mode": "sequential",
                **ENTRIES,
            },
        }

    def __enter__(self) -> OrtSession:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._session = None
