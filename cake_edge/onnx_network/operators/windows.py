"""What convolution and pooling share: how a window lies on the image.

Padding is asked for in three ways: written out, "as much as keeps the size", or none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch.nn import functional

from cake_edge.errors import TeacherError
from cake_edge.onnx_network.node import Call
from cake_edge.onnx_network.refusals import check_elements

__all__ = ["Windows", "pad", "windows_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Windows:
    """Kernel, strides and dilations by axis, and the padding before and after each axis."""

    kernel: list[int]
    strides: list[int]
    dilations: list[int]
    before: list[int]
    after: list[int]

    @property
    def even(self) -> bool:
        """Whether as much is padded before as after, which torch's operators do themselves."""
        return self.before == self.after

    def extent(self, axis: int) -> int:
        """Pixels from the first to the last that one window sees."""
        return (self.kernel[axis] - 1) * self.dilations[axis] + 1


def windows_of(call: Call, sizes: Sequence[int], kernel: Sequence[int]) -> Windows:
    """Reads the attributes of a convolution or of a pooling.

    Args:
        call: the node.
        sizes: the image's, by axis.
        kernel: the window's, by axis.

    Raises:
        TeacherError: the attributes are for another number of axes, or not positive.
    """
    rank = len(kernel)
    strides = list(call.get("strides") or [1] * rank)
    dilations = list(call.get("dilations") or [1] * rank)
    pads = list(call.get("pads") or [0] * 2 * rank)
    for name, values, count in (
        ("sizes of image", sizes, rank),
        ("strides", strides, rank),
        ("dilations", dilations, rank),
        ("pads", pads, 2 * rank),
    ):
        if len(values) != count:
            raise TeacherError(f"{len(values)} {name} for a kernel of {rank} axes")
    if min([*kernel, *strides, *dilations], default=1) < 1:
        raise TeacherError("kernel, strides and dilations must be at least 1")
    before, after = pads[:rank], pads[rank:]
    mode = call.get("auto_pad", "NOTSET")
    if mode == "VALID":
        before, after = [0] * rank, [0] * rank
    elif mode in ("SAME_UPPER", "SAME_LOWER"):
        for i in range(rank):
            extent = (kernel[i] - 1) * dilations[i] + 1
            least, more = _same(sizes[i], extent, strides[i])
            before[i], after[i] = (least, more) if mode == "SAME_UPPER" else (more, least)
    return Windows(
        kernel=list(kernel), strides=strides, dilations=dilations, before=before, after=after
    )


def _same(size: int, extent: int, stride: int) -> tuple[int, int]:
    """The smaller and the larger half of the padding that gives ceil(size / stride) windows."""
    total = max((-(-size // stride) - 1) * stride + extent - size, 0)
    return total // 2, total - total // 2


def pad(
    x: torch.Tensor, before: Sequence[int], after: Sequence[int], value: float = 0.0
) -> torch.Tensor:
    """Pads the last axes with a constant; a negative number crops."""
    if not any(before) and not any(after):
        return x
    first = x.dim() - len(before)
    grown = [n + b + a for n, b, a in zip(x.shape[first:], before, after, strict=True)]
    check_elements([*x.shape[:first], *grown])
    pairs = [n for b, a in zip(reversed(before), reversed(after), strict=True) for n in (b, a)]
    return functional.pad(x, pairs, value=value)
