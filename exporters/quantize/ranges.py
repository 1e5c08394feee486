"""From what a tensor held to the range its 256 levels cover."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from cake_edge.errors import NumericsError

__all__ = ["Histogram", "Range", "least_error_range"]

BINS = 2048
LEVELS = 255
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


@dataclass(slots=True)
class Histogram:
    """Extremes first, then counts between them; its size does not depend on what it has seen."""

    name: str
    """Of the tensor, for messages."""
    low: float = np.inf
    """Smallest value seen."""
    high: float = -np.inf
    """Largest value seen."""
    counts: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(BINS, dtype=np.int64))
    """Values in each of the equal bins from low to high."""

    def widen(self, values: npt.NDArray[np.float32]) -> None:
        """First pass: takes in the extremes.

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

    def count(self, values: npt.NDArray[np.float32]) -> None:
        """Second pass: counts values between the extremes of the first."""
        span = self.high - self.low
        if span <= 0:
            return
        places = (values.ravel() - np.float32(self.low)) * np.float32(BINS / span)
        index = np.clip(places.astype(np.int32), 0, BINS - 1)
        self.counts += np.bincount(index, minlength=BINS)

    @property
    def minmax(self) -> Range:
        """Everything that was seen."""
        return Range(self.low, self.high, "minmax")


def least_error_range(histogram: Histogram) -> Range:
    """Returns the range of least mean squared rounding and clipping error.

    Candidates are everything seen, quantiles at both ends, and both ends drawn in evenly; of
    equals the widest wins. The error is measured on the histogram, its bins an eighth of a level.
    """
    seen = histogram.minmax
    if not histogram.counts.any():
        return seen
    edges = np.linspace(histogram.low, histogram.high, BINS + 1)
    centres = (edges[:-1] + edges[1:]) / 2
    candidates = [
        seen,
        *_quantile_ranges(histogram, edges),
        *(Range(seen.low * share, seen.high * share, "shrunk") for share in SHRINKS),
    ]
    errors = [_error(candidate, centres, histogram.counts) for candidate in candidates]
    return candidates[int(np.argmin(errors))]


def _quantile_ranges(histogram: Histogram, edges: npt.NDArray[np.float64]) -> list[Range]:
    below = np.cumsum(histogram.counts) / histogram.counts.sum()
    found = []
    for quantile in QUANTILES:
        first = int(np.searchsorted(below, 1 - quantile))
        last = int(np.searchsorted(below, quantile))
        found.append(Range(float(edges[first]), float(edges[last + 1]), "quantile"))
    return found


def _error(
    candidate: Range, centres: npt.NDArray[np.float64], counts: npt.NDArray[np.int64]
) -> float:
    # The rule of ONNX Runtime's quantizer: 0 is a level, and the scale follows from the ends.
    low, high = min(candidate.low, 0.0), max(candidate.high, 0.0)
    scale = (high - low) / LEVELS
    if scale <= 0:
        return np.inf
    zero = np.round(-low / scale)
    level = np.clip(np.round(centres / scale) + zero, 0, LEVELS)
    return float((counts * (centres - (level - zero) * scale) ** 2).sum())
