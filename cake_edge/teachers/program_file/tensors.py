"""Tensors from raw bytes, by sizes and strides that a file states and we check."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from cake_edge.errors import TeacherError
from cake_edge.teachers.program_file.archive import Archive

__all__ = ["NARROW", "Layout", "StoredTensors", "Weight", "dense_tensor", "plain_weight"]

NARROW = (torch.float16, torch.bfloat16, torch.float64)
"""Float types that become float32, in weights and in what a program computes."""

MOST_DIMENSIONS = 8
REPEATED = 1 << 20
"""Elements that a tensor may have beyond those stored for it, by strides of zero."""

MOST_COPIES = 4
"""How often over the tensors of a file may lie in its bytes, beyond the slack of small ones."""
SLACK = 256 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Weight:
    """A tensor that a program brings with it."""

    name: str
    """Under which the file knows it."""
    tensor: torch.Tensor
    """Dense, on the CPU, float32 or of an integer type."""
    trained: bool
    """Whether it counts as a parameter; the rest are buffers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Where a tensor's elements lie among the bytes of its storage, as the file states it."""

    dtype: torch.dtype
    """Of the elements, little-endian."""
    size: tuple[int, ...]
    """Extent of each axis."""
    stride: tuple[int, ...]
    """Distance of neighbours along each axis, in elements."""
    offset: int
    """Of the first element, in elements."""


class StoredTensors:
    """Tensors out of the members of an archive, within the memory that their file takes."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive
        self._room = MOST_COPIES * archive.size + SLACK
        self._known: dict[tuple[str, Layout], torch.Tensor] = {}
        self._last: tuple[str, bytes] = ("", b"")

    def tensor(self, member: str, layout: Layout, where: str) -> torch.Tensor:
        """Returns `plain_weight` of `dense_tensor` of a member, the same object if asked again.

        Raises:
            TeacherError: as those two, or the tensors together need far more than the file has.
        """
        key = (member, layout)
        if key not in self._known:
            if self._last[0] != member:
                self._last = (member, self._archive.read(member))
            tensor = dense_tensor(self._last[1], layout, where)
            self._room -= tensor.numel() * max(4, tensor.itemsize)
            if self._room < 0:
                raise TeacherError(
                    f"{where}: the tensors up to here would take more than {MOST_COPIES} times the "
                    "memory of their file; it is damaged or made to exhaust memory, so get it again"
                )
            self._known[key] = plain_weight(tensor, where)
        return self._known[key]


def dense_tensor(data: bytes, layout: Layout, where: str) -> torch.Tensor:
    """Returns a copy of the tensor that lies in `data`, with the strides it was saved with.

    Args:
        data: the bytes of its storage.
        where: names it in errors.

    Raises:
        TeacherError: it does not lie within `data`.
    """
    size, stride, offset = layout.size, layout.stride, layout.offset
    numbers = [*size, *stride, offset]
    whole = all(type(n) is int and 0 <= n < 1 << 48 for n in numbers)
    if not whole or len(size) != len(stride) or len(size) > MOST_DIMENSIONS:
        raise TeacherError(
            f"{where} is said to have sizes {list(size)[:9]}, strides {list(stride)[:9]} and "
            f"offset {offset}, which no dense tensor has; the file is damaged, so get it again"
        )
    stored = len(data) // layout.dtype.itemsize
    elements = 1
    for extent in size:
        elements *= extent
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    if elements > max(stored, REPEATED) or (elements and last >= stored):
        raise TeacherError(
            f"{where} is said to have {elements:,} elements, the last at {last:,}, but the file "
            f"holds {stored:,} for it; it is damaged, so get it again"
        )
    if not elements:
        return torch.empty(size, dtype=layout.dtype)
    flat = torch.frombuffer(bytearray(data[: stored * layout.dtype.itemsize]), dtype=layout.dtype)
    return flat.as_strided(size, stride, offset).clone()


def plain_weight(tensor: torch.Tensor, where: str) -> torch.Tensor:
    """Returns a weight as float32 or as the integers it is.

    Raises:
        TeacherError: it is sparse, quantized, complex or an 8-bit float.
    """
    dense = tensor.layout is torch.strided and not tensor.is_quantized
    if not dense or tensor.is_complex() or (tensor.is_floating_point() and tensor.itemsize < 2):
        kind = "quantized" if tensor.is_quantized else f"{tensor.layout} {tensor.dtype}"
        raise TeacherError(
            f"{where} is {kind}; a teacher's weights are dense float32, float16 or bfloat16, so "
            "save the float program that it was made from"
        )
    stored = tensor.untyped_storage().nbytes() // tensor.itemsize
    if tensor.numel() > stored + REPEATED:
        raise TeacherError(
            f"{where} is said to have {tensor.numel():,} elements, but the file holds {stored:,} "
            "for it; it is damaged, so get it again"
        )
    tensor = tensor.detach()
    return tensor.float() if tensor.dtype in NARROW else tensor
