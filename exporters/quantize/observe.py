"""Runs the float model over images and keeps of its insides what quantization needs."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from exporters.quantize.ranges import Histogram
from exporters.runtimes.ort import open_inference_session, session_options

__all__ = ["Observed", "observe"]

Batches = Callable[[], Iterable[npt.NDArray[np.float32]]]


class Observed:
    """Histograms, and channel means of the tensors asked for."""

    def __init__(self, names: Iterable[str], averaged: Iterable[str]) -> None:
        self.histograms = {name: Histogram(name) for name in names}
        self._sums: dict[str, npt.NDArray[np.float64]] = {}
        self._averaged = frozenset(averaged)
        self._images = 0

    def first_pass(self, values: Iterable[tuple[str, npt.NDArray[np.float32]]], count: int) -> None:
        """Takes in one batch: extremes and channel means."""
        for name, array in values:
            self.histograms[name].widen(array)
            if name in self._averaged:
                # Axis 1 is the channel of [N, C, H, W] and the feature of [N, F].
                axes = tuple(axis for axis in range(array.ndim) if axis != 1)
                mean = array.mean(axis=axes, dtype=np.float64) * count
                self._sums[name] = self._sums.get(name, 0.0) + mean
        self._images += count

    def second_pass(self, values: Iterable[tuple[str, npt.NDArray[np.float32]]]) -> None:
        """Takes in the same batch again: counts."""
        for name, array in values:
            self.histograms[name].count(array)

    @property
    def means(self) -> dict[str, npt.NDArray[np.float64]]:
        """Mean of each channel over images and positions, by tensor."""
        return {name: total / self._images for name, total in self._sums.items()}


def observe(
    model: onnx.ModelProto, names: list[str], averaged: Iterable[str], batches: Batches
) -> Observed:
    """Runs all batches twice through the float model and watches the tensors in `names`.

    Memory depends on the batch size and the number of tensors, not on the number of images.

    Args:
        averaged: those of `names`, of two or four axes, whose channel means are wanted.

    Raises:
        NumericsError: a tensor holds a NaN or an infinity; its name is in the message.
    """
    observed = Observed(names, averaged)
    session, source = _opened(model, names)
    for images in batches():
        observed.first_pass(_values(session, source, names, images), len(images))
    for images in batches():
        observed.second_pass(_values(session, source, names, images))
    return observed


def _opened(model: onnx.ModelProto, names: list[str]) -> tuple[Any, str]:
    """A session whose outputs are the tensors in `names`, and the name of its input."""
    widened = copy.deepcopy(model)
    source = widened.graph.input[0].name
    infos = {info.name: info for info in [*widened.graph.value_info, *widened.graph.output]}
    wanted = [infos[name] for name in names if name != source]
    del widened.graph.output[:]
    widened.graph.output.extend(wanted)
    options = session_options()
    return open_inference_session(
        widened.SerializeToString(), options, what="the float model"
    ), source


def _values(
    session: Any, source: str, names: list[str], images: npt.NDArray[np.float32]
) -> Iterator[tuple[str, npt.NDArray[np.float32]]]:
    if source in names:
        yield source, images
    wanted = [name for name in names if name != source]
    yield from zip(wanted, session.run(wanted, {source: images}), strict=True)
