"""The range of each channel of a tensor, observed over images."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx

from cake_edge.errors import NumericsError
from exporters.runtimes.ort import open_inference_session, session_options

__all__ = ["Batches", "ChannelRange", "observe_channels"]

Batches = Callable[[], Iterable[npt.NDArray[np.float32]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelRange:
    """Smallest and largest value of each channel of one tensor."""

    low: npt.NDArray[np.float64]
    """[C]."""
    high: npt.NDArray[np.float64]
    """[C], nowhere below `low`."""

    def joined(self, other: ChannelRange) -> ChannelRange:
        """The range of what either has seen."""
        return ChannelRange(
            low=np.minimum(self.low, other.low), high=np.maximum(self.high, other.high)
        )


def observe_channels(
    model: onnx.ModelProto, axes: Mapping[str, int], batches: Batches
) -> dict[str, ChannelRange]:
    """Runs the images through the float model once and returns the channels' ranges.

    Memory depends on the batch size and the tensors, not on the number of images.

    Args:
        axes: the tensors to watch, each with the axis its channels lie on.
        batches: gives arrays [N, C, H, W] float32 of the model's input space.

    Raises:
        NumericsError: a tensor holds a NaN or an infinity, or there are no images.
    """
    widened = copy.deepcopy(model)
    infos = {info.name: info for info in [*widened.graph.value_info, *widened.graph.output]}
    wanted = [infos[name] for name in axes]
    del widened.graph.output[:]
    widened.graph.output.extend(wanted)
    session = open_inference_session(
        widened.SerializeToString(), session_options(), what="the float model"
    )
    source = model.graph.input[0].name
    found: dict[str, ChannelRange] = {}
    for images in batches():
        for name, values in zip(axes, session.run(list(axes), {source: images}), strict=True):
            seen = _channel_range(name, values, axes[name])
            found[name] = found[name].joined(seen) if name in found else seen
    if len(found) < len(axes):
        raise NumericsError("no images were given, so no channel has a range; give some")
    return found


def _channel_range(name: str, values: npt.NDArray[np.float32], axis: int) -> ChannelRange:
    others = tuple(other for other in range(values.ndim) if other != axis % values.ndim)
    low, high = values.min(axis=others), values.max(axis=others)
    if not (np.isfinite(low).all() and np.isfinite(high).all()):
        raise NumericsError(
            f"tensor {name!r} holds a NaN or an infinity for the given images, so its channels "
            "have no range; check the images and the float model"
        )
    return ChannelRange(low=low.astype(np.float64), high=high.astype(np.float64))
