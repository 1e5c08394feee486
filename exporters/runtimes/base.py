"""What every runtime gives: an open model."""

from __future__ import annotations

from types import TracebackType
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from exporters.artifact import ModelCard

__all__ = ["Session"]


class Session(Protocol):
    """A model opened on a device; a context manager that gives back what it took."""

    @property
    def card(self) -> ModelCard | None:
        """What the file says of itself, or None where it is not one of ours."""

    def infer(self, images: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Takes images [N, C, H, W] of the model's input space to logits [N, classes].

        Raises:
            ArtifactError: the images do not fit the model.
        """

    def describe(self) -> dict[str, Any]:
        """What shapes a measured time: runtime, version, providers, threads, options."""

    def __enter__(self) -> Session: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...
