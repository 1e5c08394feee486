"""The images behind a quantization: checked, cut into batches, and parted in two."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt

from cake_edge.errors import PoolError
from cake_edge.spec import ImageSpec
from exporters.quantize.config import FEWEST_IMAGES

__all__ = ["Feed"]

Images = npt.NDArray[np.float32]

# Values of one batch; all activations of a network together are some fifty times its input.
BATCH_VALUES = 1 << 19
LARGEST_BATCH = 32
JUDGED = 64
KEPT_APART = 4


class Feed:
    """Reads the same images again and again, never all at once.

    Every fourth image is kept apart: it has no part in any choice, and so can judge the result.
    """

    def __init__(self, source: Callable[[], Iterator[Images]], spec: ImageSpec, most: int) -> None:
        """Counts the images that `source` gives, `most` at the most.

        Raises:
            PoolError: an image does not fit the model, or there are too few.
        """
        self._source = source
        self.spec = spec
        self._most = most
        self._batch = int(np.clip(BATCH_VALUES // np.prod(spec.input_size), 1, LARGEST_BATCH))
        total = sum(len(chunk) for chunk, _ in self._chunks())
        if total < FEWEST_IMAGES:
            raise PoolError(
                f"{total} images to quantize with; at least {FEWEST_IMAGES} are needed, and a few "
                "hundred serve better"
            )
        self.checked_images = total // KEPT_APART
        self.calibration_images = total - self.checked_images
        self.judging_step = -(-self.calibration_images // JUDGED)

    def calibration(self) -> Iterator[Images]:
        """Batches of the images that ranges are chosen on."""
        return self._batches(apart=False)

    def kept_apart(self) -> Iterator[Images]:
        """Batches of the images that the result is judged on."""
        return self._batches(apart=True)

    def judging(self) -> list[Images]:
        """Batches of every `judging_step`-th calibration image, at most 64, in memory."""
        step, seen, chosen = self.judging_step, 0, list[Images]()
        for images in self.calibration():
            chosen.extend(images[-seen % step :: step].copy())
            seen += len(images)
        size = self._batch
        return [np.stack(chosen[at : at + size]) for at in range(0, len(chosen), size)]

    def _batches(self, *, apart: bool) -> Iterator[Images]:
        for chunk, first in self._chunks():
            positions = np.arange(first, first + len(chunk))
            chosen = chunk[(positions % KEPT_APART == KEPT_APART - 1) == apart]
            for start in range(0, len(chosen), self._batch):
                yield chosen[start : start + self._batch]

    def _chunks(self) -> Iterator[tuple[Images, int]]:
        """Arrays as the source gives them, with the position of their first image."""
        first = 0
        for chunk in self._source():
            if chunk.ndim != 4 or chunk.shape[1:] != self.spec.input_size:
                raise PoolError(
                    f"images of shape {list(chunk.shape)} do not fit a model that takes "
                    f"[N, {', '.join(map(str, self.spec.input_size))}]"
                )
            if chunk.dtype != np.float32:
                raise PoolError(
                    f"images are {chunk.dtype}; they must be float32 in the model's input space"
                )
            yield chunk[: self._most - first], first
            first += len(chunk)
            if first >= self._most:
                return
