"""Operators that move values about, or ask how many there are."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch.nn import functional

from cake_edge.errors import TeacherError
from cake_edge.onnx_network.known import Known
from cake_edge.onnx_network.node import Call, Operator
from cake_edge.onnx_network.refusals import UnsupportedOnnx, check_elements

__all__ = ["OPERATORS", "sections", "slices"]


def _identity(call: Call) -> torch.Tensor:
    return call.tensor(0)


def _dropout(call: Call) -> torch.Tensor | Sequence[torch.Tensor]:
    if any(call.numbers(2) or ()):
        raise UnsupportedOnnx(
            "it was exported in training mode: export the network again after network.eval()"
        )
    x = call.tensor(0)
    return (x, torch.ones_like(x, dtype=torch.bool)) if call.wants(1) else x


def _shape(call: Call) -> Known:
    sizes = list(call.tensor(0).shape)
    return Known.vector(sizes[call.get("start", 0) : call.get("end", len(sizes))])


def _size(call: Call) -> Known:
    return Known((math.prod(call.tensor(0).shape),), 0, torch.int64)


def _reshape(call: Call) -> torch.Tensor:
    x, shape = call.tensor(0), call.numbers(1) or []
    if not call.get("allowzero", 0):
        # A symbol of an export is never zero, and to ask it would pin it.
        zero = [isinstance(size, int) and size == 0 for size in shape]
        shape = [x.shape[i] if zero[i] else size for i, size in enumerate(shape)]
    return x.reshape(shape)


def _flatten(call: Call) -> torch.Tensor:
    x, axis = call.tensor(0), call.get("axis", 1)
    axis += x.dim() if axis < 0 else 0
    rows, columns = x.shape[:axis], x.shape[axis:]
    return x.reshape(math.prod(rows), math.prod(columns))


def _squeeze(call: Call) -> torch.Tensor:
    x, axes = call.tensor(0), call.either("axes", 1, 13)
    return x.squeeze() if axes is None else x.squeeze(axes)


def _unsqueeze(call: Call) -> torch.Tensor:
    x, axes = call.tensor(0), call.either("axes", 1, 13) or []
    rank = x.dim() + len(axes)
    for axis in sorted(axis % rank for axis in axes):
        x = x.unsqueeze(axis)
    return x


def _transpose(call: Call) -> torch.Tensor:
    x = call.tensor(0)
    return x.permute(call.get("perm") or list(reversed(range(x.dim()))))


def _expand(call: Call) -> torch.Tensor:
    """Broadcasts both ways: where the shape says 1, the tensor keeps its size."""
    x, shape = call.tensor(0), call.numbers(1) or []
    rank = max(x.dim(), len(shape))
    own = [1] * (rank - x.dim()) + list(x.shape)
    asked = [1] * (rank - len(shape)) + shape
    grown = [mine if want == 1 else want for mine, want in zip(own, asked, strict=True)]
    check_elements(grown)
    return x.expand(grown)


def _tile(call: Call) -> torch.Tensor:
    x, repeats = call.tensor(0), call.numbers(1) or []
    check_elements([n * times for n, times in zip(x.shape, repeats, strict=True)])
    return x.repeat(repeats)


def _concat(call: Call) -> torch.Tensor:
    return torch.cat(call.tensors(), call.get("axis", 1))


def sections(call: Call, size: int) -> list[int]:
    """Returns the sizes that Split cuts an axis of this size into."""
    stated = call.either("split", 1, 13)
    if stated is not None:
        return stated
    count = call.get("num_outputs") or len(call.node.outputs)
    each = -(-size // count)
    return [each] * (count - 1) + [size - each * (count - 1)]


def _split(call: Call) -> Sequence[torch.Tensor]:
    x, axis = call.tensor(0), call.get("axis", 0)
    return torch.split(x, sections(call, x.shape[axis]), axis)


def slices(call: Call, rank: int) -> list[tuple[int, int, int, int]]:
    """Returns (axis, start, end, step) of a Slice, as stated."""
    starts, ends = call.either("starts", 1, 10) or [], call.either("ends", 2, 10) or []
    axes = call.either("axes", 3, 10)
    steps = (call.numbers(4) if call.opset >= 10 else None) or [1] * len(starts)
    axes = list(range(len(starts))) if axes is None else [axis % rank for axis in axes]
    return list(zip(axes, starts, ends, steps, strict=True))


def _slice(call: Call) -> torch.Tensor:
    x = call.tensor(0)
    for axis, start, end, step in slices(call, x.dim()):
        if step < 0:
            # Torch steps forwards only: turn the axis about, and count from its other end.
            first, last = (_from_behind(place, x.shape[axis]) for place in (start, end))
            x = x.flip(axis)[(slice(None),) * axis + (slice(first, last, -step),)]
        else:
            x = x[(slice(None),) * axis + (slice(start, end, step),)]
    return x


def _from_behind(place: int, size: int) -> int:
    place = place + size if place < 0 else place
    return size - 1 - min(max(place, -1), size - 1)


def _depth_to_space(call: Call) -> torch.Tensor:
    x, block = call.tensor(0), call.get("blocksize")
    n, c, h, w = x.shape
    inner = c // (block * block)
    if call.get("mode", "DCR") == "CRD":
        x = x.reshape(n, inner, block, block, h, w).permute(0, 1, 4, 2, 5, 3)
    else:
        x = x.reshape(n, block, block, inner, h, w).permute(0, 3, 4, 1, 5, 2)
    return x.reshape(n, inner, h * block, w * block)


def _space_to_depth(call: Call) -> torch.Tensor:
    x, block = call.tensor(0), call.get("blocksize")
    n, c, h, w = x.shape
    x = x.reshape(n, c, h // block, block, w // block, block)
    x = x.permute((0, 1, 3, 5, 2, 4) if call.get("mode") == "CRD" else (0, 3, 5, 1, 2, 4))
    return x.reshape(n, c * block * block, h // block, w // block)


def _pad(call: Call) -> torch.Tensor:
    x, pads = call.tensor(0), call.either("pads", 1, 11) or []
    value, axes = call.get("value", 0.0), list(range(x.dim()))
    if call.opset >= 11:
        value = next(iter(call.numbers(2) or ()), 0)
        axes = [axis % x.dim() for axis in call.numbers(3) or axes]
    before, after = [0] * x.dim(), [0] * x.dim()
    for i, axis in enumerate(axes):
        before[axis], after[axis] = pads[i], pads[i + len(axes)]
    grown = [n + b + a for n, b, a in zip(x.shape, before, after, strict=True)]
    check_elements(grown)
    mode = call.get("mode", "constant")
    if mode == "constant":
        pairs = [n for b, a in zip(reversed(before), reversed(after), strict=True) for n in (b, a)]
        return functional.pad(x, pairs, value=value)
    for axis in axes:
        if before[axis] or after[axis]:
            x = x.index_select(axis, _places(mode, x, axis, before[axis], after[axis]))
    return x


def _places(mode: str, x: torch.Tensor, axis: int, before: int, after: int) -> torch.Tensor:
    """Where along an axis each padded value is copied from."""
    size = x.shape[axis]
    places = torch.arange(-before, size + after, device=x.device)
    if mode == "edge":
        return places.clamp(0, size - 1)
    if mode == "wrap":
        return places.remainder(size)
    if mode == "reflect":
        return (places.abs().remainder(max(2 * size - 2, 1)) - (size - 1)).abs().neg() + size - 1
    raise TeacherError(f"padding in the mode {mode!r}; known: constant, edge, reflect, wrap")


OPERATORS: dict[str, Operator] = {
    "Concat": _concat,
    "DepthToSpace": _depth_to_space,
    "Dropout": _dropout,
    "Expand": _expand,
    "Flatten": _flatten,
    "Identity": _identity,
    "Pad": _pad,
    "Reshape": _reshape,
    "Shape": _shape,
    "Size": _size,
    "Slice": _slice,
    "SpaceToDepth": _space_to_depth,
    "Split": _split,
    "Squeeze": _squeeze,
    "Tile": _tile,
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
}
