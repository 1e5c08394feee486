"""What one step of an output channel's integers is worth, found together with the integers.

A runtime's quantizer derives the scale of a channel from the weights as written: the largest
absolute weight over the largest integer. So of each channel the largest weight is pinned to the
largest integer; then the quantizer finds these scales and integers again, and the scale itself
stays free. Given the integers q of a row w, the error of s q is least under the Gram matrix H at
s = (q H wT) / (q H qT).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from exporters.quantize.reconstruct.rounding import cancel_errors, descend, factor, quadratic

__all__ = ["LARGEST", "round_least_error", "round_nearest"]

Array = npt.NDArray[np.float64]

# Largest absolute integer by bits. With 7 it is 64: what ONNX Runtime calls a reduced range.
LARGEST = {3: 3, 4: 7, 5: 15, 6: 31, 7: 64, 8: 127}
# With many levels a clipped weight costs more than finer steps give.
FEW_BITS = 4
SHARES = tuple(np.linspace(1.0, 0.5, 11).tolist())
MOST_REFITS = 5


def round_nearest(weights: Array, bits: int) -> tuple[Array, Array]:
    """Returns the integers and scales that a runtime's quantizer gives to `weights`.

    Args:
        weights: [groups, outputs, inputs].

    Returns:
        (integers of the same shape, as floats; scales [groups, outputs]).
    """
    most = LARGEST[bits]
    scales = np.abs(weights).max(axis=2) / most
    # A channel of zeros, or of what float32 holds only in part, has integers 0 at any scale.
    scales[scales < np.finfo(np.float32).tiny] = 1.0
    return np.round(weights / scales[:, :, None]), scales


def round_least_error(weights: Array, gram: Array, bits: int) -> tuple[Array, Array]:
    """Returns the integers and scales of least error that were found, no worse than the nearest.

    Args:
        weights: [groups, outputs, inputs].
        gram: [groups, inputs, inputs], positive definite.

    Returns:
        As of `round_nearest`; of each channel at least one integer is the largest there is.
    """
    most = LARGEST[bits]
    pinned = np.arange(weights.shape[2]) == np.abs(weights).argmax(axis=2)[:, :, None]
    integers, scales = round_nearest(weights, bits)
    widest = scales
    least = _errors(weights, integers, scales, gram)
    factored = factor(gram)
    for share in SHARES if bits <= FEW_BITS else SHARES[:1]:
        tried = widest * share
        found = cancel_errors(weights / tried[:, :, None], factored, most, pinned)
        errors = _errors(weights, found, tried, gram)
        better = errors < least
        least = np.where(better, errors, least)
        scales = np.where(better, tried, scales)
        integers = np.where(better[:, :, None], found, integers)
    for _ in range(MOST_REFITS):
        found = descend(weights / scales[:, :, None], integers, gram, most, pinned)
        scales = _refitted(weights, found, scales, gram)
        if np.array_equal(found, integers):
            break
        integers = found
    return integers, scales


def _errors(weights: Array, integers: Array, scales: Array, gram: Array) -> Array:
    return quadratic(integers * scales[:, :, None] - weights, gram)


def _refitted(weights: Array, integers: Array, scales: Array, gram: Array) -> Array:
    """The scales of least error for `integers`; those at hand where there is none above zero."""
    moved = integers @ gram
    along, power = (moved * weights).sum(axis=2), (moved * integers).sum(axis=2)
    fits = (along > 0) & (power > 0)
    refitted: Array = np.divide(along, power, out=scales.copy(), where=fits)
    return refitted
