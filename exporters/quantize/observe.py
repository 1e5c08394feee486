"""Runs the float model over images once and keeps of its insides what quantization needs."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from exporters.quantize.ranges import Histogram
from exporters.runtimes.ort import open_inference_session, session_options

__all__ = ["Observed", "observe"]

Batches = Callable[[], Iterable[npt.NDArray[np.float32]]]

# Values of a tensor that enter its histogram, of each image; its extremes are those of all.
COUNTED = 1 << 14


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """What the float model held."""

    histograms: dict[str, Histogram]
    """By tensor."""
    means: dict[str, npt.NDArray[np.float64]]
    """Mean of each channel over images and positions, of the tensors asked for."""
    logits: npt.NDArray[np.float32]
    """[images, classes] of every so many-th image, the first among them."""


def observe(
    model: onnx.ModelProto,
    names: Iterable[str],
    averaged: Iterable[str],
    batches: Batches,
    *,
    logits_every: int = 1,
) -> Observed:
    """Runs all batches once through the float model and watches the tensors in `names`.

    Memory depends on the batch size and the number of tensors, and on the images in the logits
    that are kept alone.

    Args:
        averaged: those of `names`, of two or four axes, whose channel means are wanted.
        logits_every: the distance between images whose logits are kept.

    Raises:
        NumericsError: a tensor holds a NaN or an infinity; its name is in the message.
    """
    histograms = {name: Histogram(name) for name in sorted(names)}
    wanted_means, sums, count = frozenset(averaged), dict[str, npt.NDArray[np.float64]](), 0
    source, answer = model.graph.input[0].name, model.graph.output[0].name
    inner = sorted({*histograms, answer} - {source})
    watched, logits = _Watched(model, inner), []
    for images in batches():
        values = {**watched.run(images), source: images}
        for name, histogram in histograms.items():
            array = values[name]
            histogram.add(array, stride=max(1, array.size // (COUNTED * len(images))))
            if name in wanted_means:
                sums[name] = sums.get(name, 0.0) + _channel_means(array) * len(images)
        logits.append(values[answer][-count % logits_every :: logits_every].copy())
        count += len(images)
    return Observed(
        histograms=histograms,
        means={name: total / count for name, total in sums.items()},
        logits=np.concatenate(logits),
    )


def _channel_means(array: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """[C] of [N, C, H, W], or of [N, C]."""
    # Sums over one image stay in float32, which takes a third of the time; NumPy sums pairwise.
    planes = array.reshape(*array.shape[:2], -1)
    sums: npt.NDArray[np.float64] = planes.sum(axis=2).mean(axis=0, dtype=np.float64)
    sums /= planes.shape[2]
    return sums


class _Watched:
    """A model with some of its tensors as outputs."""

    def __init__(self, model: onnx.ModelProto, names: list[str]) -> None:
        self._names = names
        widened = copy.deepcopy(model)
        infos = {info.name: info for info in [*widened.graph.value_info, *widened.graph.output]}
        wanted = [infos[name] for name in names]
        del widened.graph.output[:]
        widened.graph.output.extend(wanted)
        self._source = widened.graph.input[0].name
        self._session = open_inference_session(
            widened.SerializeToString(), session_options(), what="the float model"
        )
        self._binding: Any = None
        self._arrays: dict[str, npt.NDArray[np.float32]] = {}
        self._size = 0

    def run(self, images: npt.NDArray[np.float32]) -> dict[str, npt.NDArray[np.float32]]:
        """Takes images to the tensors by name; the next call may overwrite them."""
        if len(images) != self._size:
            found = self._session.run(self._names, {self._source: images})
            self._arrays, self._size = dict(zip(self._names, found, strict=True)), len(images)
            self._bind()
        else:
            # Into the same arrays: fresh memory costs as much as what is written to it.
            self._binding.bind_cpu_input(self._source, np.ascontiguousarray(images))
            self._session.run_with_iobinding(self._binding)
        return self._arrays

    def _bind(self) -> None:
        self._binding = self._session.io_binding()
        for name, array in self._arrays.items():
            self._binding.bind_output(
                name, "cpu", 0, array.dtype.type, array.shape, array.ctypes.data
            )
