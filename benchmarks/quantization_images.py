"""Images in a file, handed to a quantizer without ever being held; needs no torch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

__all__ = ["CHUNK", "INPUT", "StaticReader", "StoredImages"]

CHUNK = 32
INPUT = "input"
"""As the exporter names it."""


@dataclass(frozen=True, slots=True)
class StoredImages:
    """Images in a file of their own, read piece by piece and never held."""

    path: Path
    """A NumPy array [N, C, H, W] float32."""
    count: int
    """How many of them, from the front."""

    def chunks(self) -> Iterator[npt.NDArray[np.float32]]:
        """As `exporters.quantize.quantize` takes them."""
        for start in range(0, self.count, CHUNK):
            yield self._read(start, min(start + CHUNK, self.count))

    def ones(self) -> Iterator[dict[str, npt.NDArray[np.float32]]]:
        """As a reader of ONNX Runtime gives them: one at a time, by the input's name."""
        for index in range(self.count):
            yield {INPUT: self._read(index, index + 1)}

    def _read(self, start: int, stop: int) -> npt.NDArray[np.float32]:
        # Mapped anew each time: pages of a mapping that stays open count as memory in use.
        return np.array(np.load(self.path, mmap_mode="r")[start:stop])


class StaticReader:
    """Hands images to ONNX Runtime's quantizer, one by one."""

    def __init__(self, images: StoredImages) -> None:
        self._left = images.ones()

    def get_next(self) -> dict[str, npt.NDArray[np.float32]] | None:
        """The next image by the input's name, or None."""
        return next(self._left, None)
