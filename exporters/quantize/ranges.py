"""From what a tensor held to the range that its integers cover."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from cake_edge.errors import NumericsError

__all__ = ["Histogram", "Range", "TensorRanges", "least_error_range", "tensor_ranges"]

BINS = 4096
NARROWEST = 2.0**-20
"""Least width of a bin, as a share of the largest value; below, numbers of bins leave int32."""
TINIEST = float(np.finfo(np.float32).tiny)
"""Least width of a bin at all: its inverse is still a float32."""
LEVELS = 255
"""Steps of an unsigned byte with a zero point of its own."""
SIDE_LEVELS = 127
"""Steps on either side of zero of a signed byte whose zero point is 0."""
QUANTILES = (0.99999, 0.9999, 0.999)
SHRINKS = tuple(np.linspace(0.95, 0.3, 14).tolist())


@dataclass(frozen=True, slots=True)
class Range:
    """The interval a tensor's integers cover."""

    low: float
    """Value of the lowest level, before it is moved so that 0 is a level."""
    high: float
    """Value of the highest level."""
    method: str
    """"minmax", "quantile" or "shrunk"."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorRanges:
    """One tensor's ranges, for targets with a zero point and for those without."""

    asymmetric: Range
    """For integers with a zero point."""
    symmetric: Range
    """For signed integers whose zero point is 0; from -m to m."""

    def of(self, *, symmetric: bool) -> Range:
        """The one that a dialect asks for."""
        return self.symmetric if symmetric else self.asymmetric


@dataclass(slots=True)
class Histogram:
    """Counts in equal bins that grow with what is seen; its size does not depend on how much.

    Bins begin at whole multiples of their width. Where values fall outside, pairs of bins are
    merged until they fit, so one pass is enough and no count is lost.
    """

    name: str
    """Of the tensor, for messages."""
    low: float = np.inf
    """Smallest value seen."""
    high: float = -np.inf
    """Largest value seen."""
    width: float = 0.0
    """Of a bin."""
    first: int = 0
    """The lowest bin begins at `first * width`."""
    counts: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(BINS, dtype=np.int64))
    """Values in each bin."""

    def add(self, values: npt.NDArray[np.float32], *, stride: int = 1) -> None:
        """Takes in values: all of them for the extremes, every `stride`-th for the counts.

        Raises:
            NumericsError: a value is NaN or infinite.
        """
        low, high = float(values.min()), float(values.max())
        if not (np.isfinite(low) and np.isfinite(high)):
            raise NumericsError(
                f"tensor {self.name!r} holds a NaN or an infinity for the given images, so it has "
                "no range; check the images and the float model"
            )
        self.low, self.high = min(self.low, low), max(self.high, high)
        if self.high > self.low:
            self._make_room()
            places = values.reshape(-1)[::stride] * np.float32(1 / self.width)
            index = np.floor(places, out=places).astype(np.int32) - np.int32(self.first)
            self.counts += np.bincount(np.clip(index, 0, BINS - 1), minlength=BINS)

    def _make_room(self) -> None:
        if self.width == 0:
            # Half the bins: what comes later may reach further.
            reach = max(abs(self.low), abs(self.high))
            self.width = max((self.high - self.low) / (BINS // 2), reach * NARROWEST, TINIEST)
            self.first = int(np.floor(self.low / self.width))
        while np.floor(self.high / self.width) - np.floor(self.low / self.width) >= BINS:
            self._merge_pairs()
        lowest = int(np.floor(self.low / self.width))
        highest = int(np.floor(self.high / self.width))
        if lowest < self.first or highest >= self.first + BINS:
            # The used bins fit; only where the array begins has to move.
            moved = np.zeros_like(self.counts)
            used = np.flatnonzero(self.counts)
            moved[np.clip(used + self.first - lowest, 0, BINS - 1)] = self.counts[used]
            self.counts, self.first = moved, lowest

    def _merge_pairs(self) -> None:
        first = self.first // 2
        merged = np.zeros_like(self.counts)
        places = (np.arange(BINS) + self.first) // 2 - first
        np.add.at(merged, places, self.counts)
        self.counts, self.first, self.width = merged, first, self.width * 2

    @property
    def minmax(self) -> Range:
        """Everything that was seen."""
        return Range(self.low, self.high, "minmax")

    @property
    def symmetric_minmax(self) -> Range:
        """Everything that was seen, and as far on the other side of zero."""
        reach = max(abs(self.low), abs(self.high))
        return Range(-reach, reach, "minmax")

    def centres(self) -> npt.NDArray[np.float64]:
        """The value each bin stands for."""
        middle = (np.arange(BINS) + self.first + 0.5) * self.width
        return np.clip(middle, self.low, self.high)


def tensor_ranges(histogram: Histogram, *, least_error: bool) -> TensorRanges:
    """Returns the ranges of a tensor: those of least error, or all that was seen."""
    if least_error:
        return TensorRanges(
            asymmetric=least_error_range(histogram),
            symmetric=least_error_range(histogram, symmetric=True),
        )
    return TensorRanges(asymmetric=histogram.minmax, symmetric=histogram.symmetric_minmax)


def least_error_range(histogram: Histogram, *, symmetric: bool = False) -> Range:
    """Returns the range of least mean squared rounding and clipping error.

    Candidates are everything seen, quantiles at both ends, and both ends drawn in evenly; of
    equals the widest wins. The error is measured on the histogram, its bins an eighth of a level
    or finer.
    """
    seen = histogram.symmetric_minmax if symmetric else histogram.minmax
    if not histogram.counts.any():
        return seen
    used = np.flatnonzero(histogram.counts)
    counts, centres = histogram.counts[used], histogram.centres()[used]
    candidates = [
        seen,
        *_quantile_ranges(counts, centres, symmetric=symmetric),
        *(Range(seen.low * share, seen.high * share, "shrunk") for share in SHRINKS),
    ]
    levels = 2 * SIDE_LEVELS if symmetric else LEVELS
    lows, highs = (
        np.array([[min(one.low, 0.0)] for one in candidates]),
        np.array([[max(one.high, 0.0)] for one in candidates]),
    )
    return candidates[int(np.argmin(_errors(lows, highs, levels, centres, counts)))]


def _quantile_ranges(
    counts: npt.NDArray[np.int64], centres: npt.NDArray[np.float64], *, symmetric: bool
) -> list[Range]:
    if symmetric:
        order = np.argsort(np.abs(centres), kind="stable")
        counts, centres = counts[order], np.abs(centres)[order]
    below = np.cumsum(counts) / counts.sum()
    found = []
    for quantile in QUANTILES:
        high = float(centres[int(np.searchsorted(below, quantile))])
        low = -high if symmetric else float(centres[int(np.searchsorted(below, 1 - quantile))])
        found.append(Range(low, high, "quantile"))
    return found


def _errors(
    lows: npt.NDArray[np.float64],
    highs: npt.NDArray[np.float64],
    levels: int,
    centres: npt.NDArray[np.float64],
    counts: npt.NDArray[np.int64],
) -> npt.NDArray[np.float64]:
    """Summed squared error of each candidate, [candidates]; `lows` and `highs` are [.., 1]."""
    # The rule of ONNX Runtime's quantizer: 0 is a level, and the scale follows from the ends.
    scales = (highs - lows) / levels
    empty = scales[:, 0] <= 0
    scales = np.where(scales > 0, scales, 1.0)
    zeros = np.round(-lows / scales)
    found = np.clip(np.round(centres / scales) + zeros, 0, levels)
    errors = (counts * (centres - (found - zeros) * scales) ** 2).sum(axis=1)
    return np.where(empty, np.inf, errors)
