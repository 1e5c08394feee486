"""Convolution and its transpose, over one, two or three axes."""

from __future__ import annotations

import torch
from torch.nn import functional

from cake_edge.errors import TeacherError
from cake_edge.onnx_network.node import Call, Operator
from cake_edge.onnx_network.operators.windows import pad, windows_of

__all__ = ["OPERATORS", "conv"]

FORWARD = {1: functional.conv1d, 2: functional.conv2d, 3: functional.conv3d}
TRANSPOSED = {
    1: functional.conv_transpose1d,
    2: functional.conv_transpose2d,
    3: functional.conv_transpose3d,
}


def _axes(x: torch.Tensor, weight: torch.Tensor) -> int:
    rank = x.dim() - 2
    if rank not in FORWARD or weight.dim() != x.dim():
        raise TeacherError(
            f"a convolution of shape {list(weight.shape)} over images of shape {list(x.shape)}"
        )
    return rank


def conv(call: Call) -> torch.Tensor:
    """Convolves [N, C, ...] with [O, C / group, ...], and adds a bias [O] if there is one."""
    x, weight, bias = call.tensor(0), call.tensor(1), call.maybe(2)
    rank = _axes(x, weight)
    at = windows_of(call, x.shape[2:], weight.shape[2:])
    inner = at.before
    if not at.even or min(inner) < 0:
        x, inner = pad(x, at.before, at.after), [0] * rank
    return FORWARD[rank](x, weight, bias, at.strides, inner, at.dilations, call.get("group", 1))


def _conv_transpose(call: Call) -> torch.Tensor:
    """The gradient of a convolution; `pads` crop, unless `output_shape` says what is to be left."""
    x, weight, bias = call.tensor(0), call.tensor(1), call.maybe(2)
    rank = _axes(x, weight)
    at = windows_of(call, x.shape[2:], weight.shape[2:])
    more = list(call.get("output_padding") or [0] * rank)
    before, after = list(at.before), list(at.after)
    wanted = list(call.get("output_shape") or [])[-rank:]
    mode = call.get("auto_pad", "NOTSET")
    if not wanted and mode in ("SAME_UPPER", "SAME_LOWER"):
        wanted = [n * s for n, s in zip(x.shape[2:], at.strides, strict=True)]
    for i, size in enumerate(wanted):
        total = at.strides[i] * (x.shape[2 + i] - 1) + more[i] + at.extent(i) - size
        least, most = total // 2, total - total // 2
        before[i], after[i] = (least, most) if mode == "SAME_UPPER" else (most, least)
    if any(m >= max(s, d) for m, s, d in zip(more, at.strides, at.dilations, strict=True)):
        # Torch does not know of more, ONNX does: rows that no window reaches.
        after, more = [a - m for a, m in zip(after, more, strict=True)], [0] * rank
    y = TRANSPOSED[rank](x, weight, None, at.strides, 0, more, call.get("group", 1), at.dilations)
    y = pad(y, [-n for n in before], [-n for n in after])
    return y if bias is None else y + bias.reshape(-1, *[1] * rank)


OPERATORS: dict[str, Operator] = {"Conv": conv, "ConvTranspose": _conv_transpose}
