"""Resizing, one axis after the other, each as a product with a matrix of weights.

Written from the operator's specification (Resize, opsets 10 to 19; Upsample, 7 and 9). Before
opset 11 pixels lay at whole coordinates, and nearest went downwards, upwards where it shrank.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch

from cake_edge.errors import TeacherError
from cake_edge.onnx_network.node import Call, Operator
from cake_edge.onnx_network.refusals import check_elements

__all__ = ["OPERATORS"]

NEAREST: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "round_prefer_floor": lambda x: torch.ceil(x - 0.5),
    "round_prefer_ceil": lambda x: torch.floor(x + 0.5),
    "floor": torch.floor,
    "ceil": torch.ceil,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """How one axis is resized."""

    index: int
    size: int
    wanted: int
    scale: float
    start: float
    """Where the cut-out begins, as a share of the axis; of tf_crop_and_resize alone."""
    end: float


def _resize(call: Call) -> torch.Tensor:
    x = call.tensor(0)
    cut = call.get("coordinate_transformation_mode", "half_pixel") == "tf_crop_and_resize"
    for axis in _axes(call, x):
        if axis.size != axis.wanted or axis.scale != 1 or cut:
            x = _along(call, x, axis)
    return x


def _upsample(call: Call) -> torch.Tensor:
    x = call.tensor(0)
    scales = call.numbers(1) if call.opset >= 9 else call.get("scales")
    for i, scale in enumerate(scales or []):
        if scale != 1:
            wanted = math.floor(x.shape[i] * scale)
            x = _along(call, x, _axis(i, x.shape[i], wanted, scale))
    return x


def _axis(index: int, size: int, wanted: int, scale: float, region: tuple[float, ...] = ()) -> Axis:
    start, end = region or (0.0, 1.0)
    return Axis(index=index, size=size, wanted=wanted, scale=scale, start=start, end=end)


def _axes(call: Call, x: torch.Tensor) -> list[Axis]:
    old = call.opset < 11
    scales = call.numbers(1 if old else 2)
    sizes = None if old else call.numbers(3)
    axes = [axis % x.dim() for axis in call.get("axes") or range(x.dim())]
    region = [] if old else call.numbers(1) or []
    found = []
    kept = _kept_ratio(call, [x.shape[axis] for axis in axes], sizes)
    for i, axis in enumerate(axes):
        size = x.shape[axis]
        cut = (region[i], region[i + len(axes)]) if len(region) == 2 * len(axes) else ()
        if sizes and kept:
            wanted, scale = math.floor(kept * size + 0.5), kept
        elif sizes:
            # An axis that stays, such as a batch of unknown size, is not divided by itself.
            wanted = sizes[i]
            scale = 1.0 if wanted == size else wanted / size
        elif scales:
            scale = scales[i]
            wanted = size if scale == 1 else math.floor(size * scale)
        else:
            raise TeacherError("neither sizes nor scales are given")
        found.append(_axis(axis, size, wanted, scale, cut))
    return found


def _kept_ratio(call: Call, own: list[int], sizes: list[int] | None) -> float | None:
    """The one scale of all axes, where the image is to keep its proportions."""
    policy = call.get("keep_aspect_ratio_policy", "stretch")
    if policy == "stretch" or not sizes:
        return None
    ratios = [wanted / size for wanted, size in zip(sizes, own, strict=True)]
    return min(ratios) if policy == "not_larger" else max(ratios)


def _along(call: Call, x: torch.Tensor, axis: Axis) -> torch.Tensor:
    check_elements([*x.shape[: axis.index], axis.wanted, *x.shape[axis.index + 1 :]])
    check_elements([axis.size, axis.wanted])
    mode = call.get("mode", "nearest")
    at = _coordinates(call, axis, x)
    if mode == "nearest":
        y = x.index_select(axis.index, _nearest(call, at, axis))
    elif mode in ("linear", "cubic"):
        weights = _weights(call, at, axis, cubic=mode == "cubic").to(x.dtype)
        y = (x.movedim(axis.index, -1) @ weights.t()).movedim(-1, axis.index)
    else:
        raise TeacherError(f"the mode {mode!r}; known: nearest, linear, cubic")
    if call.get("coordinate_transformation_mode", "half_pixel") == "tf_crop_and_resize":
        outside = (at < 0) | (at > axis.size - 1)
        outside = outside.reshape(-1, *[1] * (x.dim() - axis.index - 1))
        y = y.masked_fill(outside, call.get("extrapolation_value", 0.0))
    return y


def _coordinates(call: Call, axis: Axis, x: torch.Tensor) -> torch.Tensor:
    """Where each new pixel lies among the old ones.

    In float32, as runtimes reckon: in float64 other pixels would be the nearest.
    """
    i = torch.arange(axis.wanted, dtype=torch.float32, device=x.device)
    scale = i.new_full((), axis.scale)
    mode = call.get("coordinate_transformation_mode", "half_pixel")
    if call.node.op_type == "Upsample" or call.opset < 11 or mode == "asymmetric":
        return i / scale
    if mode == "half_pixel" or (mode == "pytorch_half_pixel" and axis.wanted > 1):
        return (i + 0.5) / scale - 0.5
    if mode == "pytorch_half_pixel":
        return torch.zeros_like(i)
    if mode == "half_pixel_symmetric":
        share = axis.wanted / (axis.scale * axis.size)
        return (i + 0.5) / scale + (axis.size / 2 * (1 - share) - 0.5)
    if mode == "tf_half_pixel_for_nn":
        return (i + 0.5) / scale
    if mode == "align_corners":
        return i * ((axis.size - 1) / max(axis.wanted - 1, 1))
    if mode == "tf_crop_and_resize":
        return _crop(i, axis)
    raise TeacherError(f"the coordinate transformation {mode!r} is not known")


def _crop(i: torch.Tensor, axis: Axis) -> torch.Tensor:
    last = axis.size - 1
    if axis.wanted == 1:
        return (i + 0.5) * (axis.start + axis.end) * last
    return axis.start * last + i * ((axis.end - axis.start) * last / (axis.wanted - 1))


def _nearest(call: Call, at: torch.Tensor, axis: Axis) -> torch.Tensor:
    if call.node.op_type == "Upsample" or call.opset < 11:
        places = torch.ceil(at) if axis.scale < 1 else torch.floor(at)
    else:
        places = NEAREST[call.get("nearest_mode", "round_prefer_floor")](at)
    return places.clamp(0, axis.size - 1).to(torch.int64)


def _weights(call: Call, at: torch.Tensor, axis: Axis, *, cubic: bool) -> torch.Tensor:
    """Returns [new, old]: how much of each old pixel goes into each new one."""
    shrink = min(axis.scale, 1.0) if call.get("antialias", 0) else 1.0
    reach = math.ceil((2 if cubic else 1) / shrink)
    check_elements([axis.wanted, 2 * reach])
    places = torch.floor(at)[:, None] + torch.arange(1 - reach, reach + 1, device=at.device)
    apart = ((places - at[:, None]) * shrink).abs()
    taps = _keys(apart, call.get("cubic_coeff_a", -0.75)) if cubic else (1 - apart).clamp(min=0)
    if call.get("exclude_outside", 0):
        taps = taps.masked_fill((places < 0) | (places >= axis.size), 0)
    if shrink < 1 or call.get("exclude_outside", 0):
        taps = taps / taps.sum(1, keepdim=True)
    places = places.clamp(0, axis.size - 1).to(torch.int64)
    return taps.new_zeros(axis.wanted, axis.size).scatter_add(1, places, taps)


def _keys(apart: torch.Tensor, a: float) -> torch.Tensor:
    """Keys 1981, "Cubic convolution interpolation", equation 15 with his a."""
    near = ((a + 2) * apart - (a + 3)) * apart * apart + 1
    far = ((apart - 5) * apart + 8) * apart * a - 4 * a
    return torch.where(apart <= 1, near, torch.where(apart < 2, far, torch.zeros_like(apart)))


OPERATORS: dict[str, Operator] = {"Resize": _resize, "Upsample": _upsample}
