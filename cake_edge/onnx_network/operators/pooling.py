"""Pooling over windows, and over the whole image."""

from __future__ import annotations

import math

import torch
from torch.nn import functional

from cake_edge.errors import TeacherError
from cake_edge.onnx_network.node import Call, Operator
from cake_edge.onnx_network.operators.windows import Windows, pad, windows_of
from cake_edge.onnx_network.refusals import UnsupportedOnnx

__all__ = ["OPERATORS"]

LARGEST = {1: functional.max_pool1d, 2: functional.max_pool2d, 3: functional.max_pool3d}
SUMS = {1: functional.conv1d, 2: functional.conv2d, 3: functional.conv3d}
MEANS = {1: functional.avg_pool1d, 2: functional.avg_pool2d, 3: functional.avg_pool3d}


def _windows(call: Call, x: torch.Tensor) -> Windows:
    kernel = call.get("kernel_shape")
    if not kernel or len(kernel) != x.dim() - 2 or len(kernel) not in LARGEST:
        raise TeacherError(f"a window of shape {kernel} over images of shape {list(x.shape)}")
    return windows_of(call, x.shape[2:], kernel)


def _overhang(call: Call, x: torch.Tensor, at: Windows) -> list[int]:
    """How far the last window of each axis reaches over the padded image, if `ceil_mode` is on."""
    rows = []
    for i, size in enumerate(x.shape[2:]):
        stride, before = at.strides[i], at.before[i]
        room = size + before + at.after[i] - at.extent(i)
        steps = -(-room // stride) if call.get("ceil_mode", 0) else room // stride
        # A window that would start behind the image and its left padding is left out.
        steps -= steps * stride >= size + before
        rows.append(max(steps * stride - room, 0))
    return rows


def _max_pool(call: Call) -> torch.Tensor:
    if call.wants(1):
        raise UnsupportedOnnx("the places of the largest values are asked for")
    x = call.tensor(0)
    at = _windows(call, x)
    over = _overhang(call, x, at)
    inner = at.before
    if not at.even or any(over) or any(p > k // 2 for p, k in zip(inner, at.kernel, strict=True)):
        least = -math.inf if x.is_floating_point() else torch.iinfo(x.dtype).min
        x = pad(x, at.before, [a + o for a, o in zip(at.after, over, strict=True)], least)
        inner = [0] * len(at.kernel)
    return LARGEST[len(at.kernel)](x, at.kernel, at.strides, inner, at.dilations)


def _average_pool(call: Call) -> torch.Tensor:
    x = call.tensor(0)
    at = _windows(call, x)
    over = _overhang(call, x, at)
    rank, counted = len(at.kernel), bool(call.get("count_include_pad", 0))
    plain = at.even and not any(over) and at.dilations == [1] * rank
    if plain and all(p <= k // 2 for p, k in zip(at.before, at.kernel, strict=True)):
        return MEANS[rank](
            x, at.kernel, at.strides, at.before, ceil_mode=False, count_include_pad=counted
        )
    after = [a + o for a, o in zip(at.after, over, strict=True)]
    present = torch.ones_like(x[:1, :1])
    if counted:
        present = pad(present, at.before, at.after, 1.0)
        present = pad(present, [0] * rank, over)
    else:
        present = pad(present, at.before, after)
    return _sums(pad(x, at.before, after), at) / _sums(present, at)


def _sums(x: torch.Tensor, at: Windows) -> torch.Tensor:
    """The sum over each window, every channel for itself."""
    ones = torch.ones((1, 1, *at.kernel), dtype=x.dtype, device=x.device)
    sums = SUMS[len(at.kernel)](
        x.reshape(-1, 1, *x.shape[2:]), ones, None, at.strides, 0, at.dilations
    )
    return sums.reshape(*x.shape[:2], *sums.shape[2:])


def _global_average_pool(call: Call) -> torch.Tensor:
    x = call.tensor(0)
    return x.mean(tuple(range(2, x.dim())), keepdim=True)


def _global_max_pool(call: Call) -> torch.Tensor:
    x = call.tensor(0)
    return x.amax(tuple(range(2, x.dim())), keepdim=True)


OPERATORS: dict[str, Operator] = {
    "AveragePool": _average_pool,
    "GlobalAveragePool": _global_average_pool,
    "GlobalMaxPool": _global_max_pool,
    "MaxPool": _max_pool,
}
