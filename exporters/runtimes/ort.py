"""ONNX Runtime: on the processor, or on what else its build can compute with."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt

from cake_edge.errors import ArtifactError, RuntimeUnavailable, UsageMistake
from exporters.artifact import ModelCard, card_from_metadata
from exporters.optional import import_package
from exporters.runtimes.ort_device import OnDevice
from exporters.runtimes.placement import (
    RECORD,
    Placement,
    not_started,
    placement,
    refuse_fallback,
    tells_assignment,
)
from exporters.runtimes.profile import profiled
from exporters.runtimes.providers import (
    CPU,
    INSTALL,
    ProviderChoice,
    load_provider,
    provider_list,
)
from exporters.runtimes.tuning import SHARED, OrtTuning

__all__ = ["OrtSession", "open_inference_session", "session_options"]

logger = logging.getLogger(__name__)

SOURCE = re.compile(r"^/\S+\.(?:cc|h):\d+ .*?\) ")
"""The place in ONNX Runtime's source that some of its messages begin with."""
FLOAT32 = np.dtype(np.float32)
FATAL = 4  # log severity: what goes wrong comes back as an exception, said once and by us


def session_options(*, threads: int = 1, optimise: bool = True, tuning: OrtTuning = SHARED) -> Any:
    """Returns session options chosen for a classifier on a processor that is shared.

    Args:
        threads: threads inside one operator; operators run one after another, as a classifier's
            graph is a chain and has nothing to run beside it.
        optimise: False runs the graph as it is written, so an INT8 file is computed in float with
            its values rounded: the reference for what its fused form gives.
        tuning: how these threads wait, and where they run.

    Raises:
        UsageMistake: fewer than one thread, or an affinity for another number of them.
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
    for key, value in tuning.entries(threads).items():
        options.add_session_config_entry(key, value)
    return options


def open_inference_session(
    model: str | bytes, options: Any, *, what: str, choice: ProviderChoice = CPU
) -> Any:
    """Opens a file's name or a model's bytes on a provider; the processor is there for the rest.

    Args:
        what: how an error message names the model.
        choice: the provider. Whether it took the nodes, `placement` tells.

    Raises:
        ArtifactError: ONNX Runtime cannot read or run it.
        UsageMistake: the provider does not take its options.
        RuntimeUnavailable: it is not there, or the processor was asked for and is not what came.
    """
    load_provider(choice)
    ort = import_package("onnxruntime", install=INSTALL)
    state = import_package("onnxruntime.capi.onnxruntime_pybind11_state", install=INSTALL)
    refusals = (
        state.EPFail,
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
        # Without this, Python's side prints a failure of the provider and tries the processor.
        session = ort.InferenceSession(
            model, options, providers=provider_list(choice), enable_fallback=0
        )
    except refusals as error:
        raise ArtifactError(
            f"{what} is not a model ONNX Runtime {ort.__version__} can open{_on(choice)} "
            f"({_first_line(error)}); give a whole ONNX file, or export it again"
        ) from error
    except (RuntimeError, ValueError) as error:
        kind = UsageMistake if choice.options else RuntimeUnavailable
        raise kind(
            f"ONNX Runtime {ort.__version__} does not start {choice}: {_first_line(error)}"
        ) from error
    if choice.name == "cpu" and session.get_providers() != [CPU.provider.ort_name]:
        raise RuntimeUnavailable(
            f"ONNX Runtime opened {what} on {', '.join(session.get_providers())}, not on "
            f"{CPU.provider.ort_name}"
        )
    return session


def _on(choice: ProviderChoice) -> str:
    return "" if choice.name == "cpu" else f" with {choice.provider.ort_name}"


def _first_line(error: Exception) -> str:
    return SOURCE.sub("", str(error).strip().partition("\n")[0])[:300]


class OrtSession:
    """A classifier open in ONNX Runtime: one float32 image input, one logit output."""

    def __init__(
        self,
        path: Path,
        *,
        threads: int = 1,
        optimise: bool = True,
        fixed_batch: int | None = None,
        provider: str = "cpu",
        provider_options: Mapping[str, str] | None = None,
        allow_fallback: bool = False,
        tuning: OrtTuning = SHARED,
    ) -> None:
        """Opens `path`; the arguments are those of `session_options` and `open_session`.

        Raises:
            ArtifactError: the file is missing, not ONNX, or not a classifier of images.
            UsageMistake: threads or fixed_batch is below 1, or there is no such provider, or it
                does not take its options.
            RuntimeUnavailable: the provider is not there, or did not take all nodes.
        """
        if fixed_batch is not None and fixed_batch < 1:
            raise UsageMistake(f"fixed_batch is {fixed_batch}; it must be at least 1")
        if not path.is_file():
            raise ArtifactError(f"{path} does not exist or is not a file; name an ONNX file")
        self._path = path
        self._threads = threads
        self._optimise = optimise
        self._fixed_batch = fixed_batch
        self._choice = ProviderChoice(name=provider, options=dict(provider_options or {}))
        self._allow_fallback = allow_fallback
        self._tuning = tuning
        self._placement: Placement | None = None
        self._session: Any = self._opened()
        self._input, self._output = self._ports(self._session)
        self._call: Any = self._session.run
        self._fed, self._asked = self._input.name, [self._output.name]
        self._fitted: tuple[int, ...] | None = None
        try:
            self._card = card_from_metadata(self._session.get_modelmeta().custom_metadata_map)
        except ArtifactError as error:
            raise ArtifactError(f"{path}: {error}") from error

    def _opened(self) -> Any:
        """Opens the file; where it leaves its batch open, once more with the batch asked for."""
        fixed = self._fixed_batch
        # Another provider may compile for minutes: what the file takes is read without it.
        reads = fixed is not None and self._choice.name != "cpu"
        if reads:
            load_provider(self._choice)
        session = self._read() if reads else self._open(batch_name=None)
        batch = self._ports(session)[0].shape[0]
        open_batch = fixed is not None and isinstance(batch, str)
        if not open_batch and fixed not in (None, batch) and batch is not None:
            raise ArtifactError(
                f"{self._path} was made for batches of {batch} images, and {fixed} were asked "
                f"for; ask for {batch}, or export it with a dynamic batch"
            )
        if open_batch or reads:
            return self._open(batch_name=batch if open_batch else None)
        return session

    def _read(self) -> Any:
        options = session_options(optimise=False)
        return open_inference_session(os.fspath(self._path), options, what=str(self._path))

    def _open(self, batch_name: str | None) -> Any:
        options = session_options(
            threads=self._threads, optimise=self._optimise, tuning=self._tuning
        )
        options.add_session_config_entry(RECORD, "1")
        if batch_name is not None:
            options.add_free_dimension_override_by_name(batch_name, self._fixed_batch)
        ort = import_package("onnxruntime", install=INSTALL)
        proves = self._choice.name != "cpu"
        with ExitStack() as stack:
            if proves and not tells_assignment(ort.InferenceSession):
                stack.enter_context(profiled(options))
            session = open_inference_session(
                os.fspath(self._path), options, what=str(self._path), choice=self._choice
            )
            if proves:
                self._prove(session)
        return session

    def _prove(self, session: Any) -> None:
        """Counts who took what, and refuses what the caller has not allowed."""
        self._placement = placement(session, self._choice)
        if not self._allow_fallback:
            refuse_fallback(self._placement, session, self._choice, str(self._path))
        elif self._choice.provider.ort_name not in session.get_providers():
            logger.warning("%s: %s", self._path, not_started(self._choice))

    def _ports(self, session: Any) -> tuple[Any, Any]:
        inputs, outputs = session.get_inputs(), session.get_outputs()
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
        # What fitted a moment ago fits: asking ONNX Runtime for names and shapes at every call
        # would cost a small network some percent of its time.
        if images.shape == self._fitted and images.dtype is FLOAT32:
            return self._call(self._asked, {self._fed: images})[0]  # type: ignore[no-any-return]
        batch = self._input.shape[0]
        if isinstance(batch, int) and self._fixed_batch is None and len(images) not in (0, batch):
            return self._in_parts(images, batch)
        self._check(images)
        self._fitted = images.shape
        logits: npt.NDArray[np.float32] = self._call(self._asked, {self._fed: images})[0]
        return logits

    def _in_parts(self, images: npt.NDArray[np.float32], batch: int) -> npt.NDArray[np.float32]:
        """Answers `batch` images at a time."""
        missing = -len(images) % batch
        full = np.concatenate([images, np.repeat(images[-1:], missing, axis=0)])
        parts = [self.infer(part) for part in np.split(full, len(full) // batch)]
        return np.concatenate(parts)[: len(images)]

    def _check(self, images: npt.NDArray[np.float32]) -> None:
        if self._session is None:
            raise ArtifactError(f"{self._path} is closed; open it again")
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

    def on_device(self, images: npt.NDArray[np.float32]) -> OnDevice:
        """Puts images where the provider computes, to measure the network without its copies.

        Raises:
            ArtifactError: the images do not fit the model, or the session is closed.
            UsageMistake: the provider has no memory of its own, or has given nodes away.
        """
        self._check(images)
        memory = self._choice.provider.memory
        if memory is None or self._elsewhere():
            why = "has no memory of its own" if memory is None else "did not take all nodes"
            raise UsageMistake(f"provider {self._choice.name} {why}; measure with the copies")
        return OnDevice(
            self._session,
            images,
            input_name=self._input.name,
            output_name=self._output.name,
            memory=memory,
            device_id=self._choice.device_id,
        )

    def _elsewhere(self) -> bool:
        return self._placement is not None and bool(self._placement.elsewhere)

    def _placed(self) -> Placement | None:
        """Who has what; None where that is not known, of the processor in versions before 1.24."""
        if self._placement is None and self._session is not None:
            if not tells_assignment(self._session):
                return None
            self._placement = placement(self._session, self._choice)
        return self._placement

    def describe(self) -> dict[str, Any]:
        """What shapes a measured time: runtime, version, providers and their nodes, options.

        `providers` are those that compute; `nodes` counts by provider what each took, as the
        session assigned it or as it ran (`nodes_counted`). It is None for the processor in versions
        before 1.24, which do not tell: there it has them all.
        """
        ort = import_package("onnxruntime", install=INSTALL)
        placed = self._placed()
        choice = self._choice
        return {
            "runtime": "ort",
            "version": ort.__version__,
            "provider": choice.name,
            "providers": list(placed.counts) if placed else [choice.provider.ort_name],
            "nodes": None if placed is None else placed.counts,
            "nodes_counted": None if placed is None else placed.counted,
            "threads": self._threads,
            "images": "host memory",
            "options": {
                "optimise": self._optimise,
                "fixed_batch": self._fixed_batch,
                "execution_mode": "sequential",
                "allow_fallback": self._allow_fallback,
                **self._tuning.entries(self._threads),
                **{f"{choice.name}.{key}": value for key, value in choice.options.items()},
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
        self._session = self._call = self._fitted = None
