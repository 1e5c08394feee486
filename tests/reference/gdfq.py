"""Few bits and the generator's loss, one value at a time.

Xu et al., "Generative Low-bitwidth Data Free Quantization", ECCV 2020; steps that learn: Esser et
al., "Learned Step Size Quantization", ICLR 2020, arXiv 1902.08153, section 2.
"""

from __future__ import annotations

import math


def fake_quantize(value, step, zero_point, low, high):
    """s (q - z) for the nearest whole q, half to even, clipped to low..high."""
    whole = min(high, max(low, round(value / step) + zero_point))
    return step * (whole - zero_point)


def value_gradient(value, step, zero_point, low, high):
    """Straight through on the grid, 0 where the value is clipped."""
    return 1.0 if low <= round(value / step) + zero_point <= high else 0.0


def step_gradient(value, step, zero_point, low, high):
    """d/ds of s (q - z), q's own derivative being -v / s^2 on the grid and 0 beyond (eq. 3)."""
    whole = round(value / step) + zero_point
    if whole < low:
        return float(low - zero_point)
    if whole > high:
        return float(high - zero_point)
    return whole - zero_point - value / step


def step_factor(values, high):
    """g of section 2.2: 1 / sqrt(N Q), N values that share a step of Q positive levels."""
    return 1 / math.sqrt(values * high)


def asymmetric_grid(lowest, highest, bits):
    """Step and zero point over [lowest, highest], widened to hold zero."""
    lowest, highest = min(lowest, 0.0), max(highest, 0.0)
    step = (highest - lowest) / (2**bits - 1)
    return step, round(-lowest / step)


def batch_norm_statistics(layers):
    """L_BNS as released: the mean over layers of MSE(mean, mean') + MSE(variance, variance').

    `layers` has for each a list of channels: (values, remembered mean, remembered variance).
    """
    total = 0.0
    for channels in layers:
        means = variances = 0.0
        for values, mean, variance in channels:
            own = sum(values) / len(values)
            spread = sum((v - own) ** 2 for v in values) / len(values)
            means += (own - mean) ** 2
            variances += (spread - variance) ** 2
        total += means / len(channels) + variances / len(channels)
    return total / len(layers)
