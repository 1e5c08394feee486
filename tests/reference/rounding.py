"""Rounding for least output error, written from its definition: try everything."""

from __future__ import annotations

from itertools import product

import numpy as np


def output_error(weights, rounded, inputs):
    """Mean over the vectors x of `inputs` [n, k] of ((w^ - w) x)²: Nagel et al. 2020, eq. 8."""
    total = 0.0
    for x in inputs:
        total += sum((r - w) * v for r, w, v in zip(rounded, weights, x, strict=True)) ** 2
    return total / len(inputs)


def best_up_or_down(weights, inputs, scale, most, pinned=()):
    """The least error over all 2^k ways to round each weight up or down, and that rounding.

    Indices in `pinned` are rounded to nearest.
    """
    steps = [w / scale for w in weights]
    choices = [
        {int(np.clip(np.round(u), -most, most))}
        if index in pinned
        else {int(np.clip(way(u), -most, most)) for way in (np.floor, np.ceil)}
        for index, u in enumerate(steps)
    ]
    candidates = [
        (output_error(weights, [q * scale for q in one], inputs), one)
        for one in product(*map(sorted, choices))
    ]
    return min(candidates)


def requantized(row, most):
    """(integers, scale) that a symmetric quantizer derives from the weights of one channel."""
    scale = max(abs(float(w)) for w in row) / most
    return [round(float(w) / scale) for w in row], scale


def patches(image, kernel, strides, dilations, pads, groups):
    """The vectors that a convolution multiplies with its weights, [groups][places] lists.

    `image` is [C, H, W]; one vector for each place of the output, channel by channel, then row by
    row of the kernel; `pads` are zeros above, left, below, right.
    """
    channels, height, width = image.shape
    top, left, bottom, right = pads

    def pixel(c, y, x):
        inside = 0 <= y < height and 0 <= x < width
        return float(image[c, y, x]) if inside else 0.0

    reach = [(size - 1) * step for size, step in zip(kernel, dilations, strict=True)]
    rows = range(-top, height + bottom - reach[0], strides[0])
    columns = range(-left, width + right - reach[1], strides[1])
    share = channels // groups
    return [
        [
            [
                pixel(c, y + ky * dilations[0], x + kx * dilations[1])
                for c in range(group * share, (group + 1) * share)
                for ky in range(kernel[0])
                for kx in range(kernel[1])
            ]
            for y in rows
            for x in columns
        ]
        for group in range(groups)
    ]
