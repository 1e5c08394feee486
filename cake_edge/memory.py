"""Refuses a file that does not fit into memory before it is read.

A file of a few kilobytes can declare terabytes; and a large one that is read to see whether it fits
takes the machine with it.
"""

from __future__ import annotations

from pathlib import Path

import psutil

from cake_edge.errors import CakeEdgeError

__all__ = ["available_memory", "check_memory"]

GIB = 2**30


def available_memory() -> int:
    """Returns the bytes that processes can get without swapping."""
    return int(psutil.virtual_memory().available)


def check_memory(
    path: Path, needed: int, kind: type[CakeEdgeError], *, available: int | None = None
) -> None:
    """Refuses a file whose tensors need more memory than there is.

    Args:
        path: of the file; names it in the error.
        needed: bytes of the tensors that it declares.
        kind: of the error.
        available: bytes there are; None asks the system.

    Raises:
        CakeEdgeError: of that kind, with how much is needed and how much is there.
    """
    there = available_memory() if available is None else available
    if needed > there:
        raise kind(
            f"{path} declares tensors of {needed / GIB:,.1f} GiB, and {there / GIB:,.1f} GiB of "
            "memory are available, so it was not loaded; close other programs, use a machine with "
            "more, or get the file again if it should be smaller"
        )
