"""Runs the float model over images once and keeps of its insides what quantization needs."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from dataclasses import dataclass

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


def observe(
    model: onnx.ModelProto, names: Iterable[str], averaged: Iterable[str], batches: Batches
) -> Observed:
    """Runs all batches once through the float model and watches the tensors in `names`.

    Memory depends on the batch size and the number of tensors, not on the number of images.

    Args:
        averaged: those of `names`, of two or four axes, whose channel means are wanted.

    Raises:
        NumericsError: a tensor holds a NaN or an infinity; its name is in the message.
    """
    histograms = {name: Histogram(name) for name in sorted(names)}
    wanted_means, sums, count = frozenset(averaged), dict[str, npt.NDArray[np.float64]](), 0
    widened, source = _widened(model, histograms)
    session = open_inference_session(
        widened.SerializeToString(), session_options(), what="the float model"
    )
    inner = [name for name in histograms if name != source]
    for images in batches():
        values = dict(zip(inner, session.run(inner, {source: images}), strict=True))
        values[source] = images
        for name, histogram in histograms.items():
            array = values[name]
            histogram.add(array, stride=max(1, array.size // (COUNTED * len(images))))
            if name in wanted_means:
                # Axis 1 is the channel of [N, C, H, W] and the feature of [N, F].
                axes = tuple(axis for axis in range(array.ndim) if axis != 1)
                mean = array.mean(axis=axes, dtype=np.float64) * len(images)
                sums[name] = sums.get(name, 0.0) + mean
        count += len(images)
    return Observed(
        histograms=histograms, means={name: total / count for name, total in sums.items()}
    )


def _widened(model: onnx.ModelProto, names: Iterable[str]) -> tuple[onnx.ModelProto, str]:
    """The model with `names` as its outputs, and the name of its input."""
    widened = copy.deepcopy(model)
    source = widened.graph.input[0].name
    infos = {info.name: info for info in [*widened.graph.value_info, *widened.graph.output]}
    wanted = [infos[name] for name in names if name != source]
    del widened.graph.output[:]
    widened.graph.output.extend(wanted)
    return widened, source
