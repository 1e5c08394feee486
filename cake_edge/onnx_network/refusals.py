"""What the interpreter will not take on, and how much of it."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from cake_edge.errors import TeacherError

__all__ = ["LARGEST_TENSOR", "DataDependent", "UnsupportedOnnx", "check_elements"]

LARGEST_TENSOR = 2**28
"""Elements of one tensor; 1 GiB in float32, a hundred times what a classifier needs."""


class UnsupportedOnnx(TeacherError):
    """The graph asks for something that no gradient can be had of here, or that is not built."""


class DataDependent(TeacherError):
    """A shape depends on the values of a tensor that has none yet, so it cannot be foretold."""


def check_elements(shape: Sequence[int | torch.SymInt]) -> None:
    """Refuses a tensor before it is made: a few bytes of a hostile file can ask for terabytes.

    Sizes that are symbols of an export are left out.

    Raises:
        TeacherError: it would have more than `LARGEST_TENSOR` elements, or a negative size.
    """
    sizes = [size for size in shape if isinstance(size, int)]
    if any(size < 0 for size in sizes) or math.prod(sizes) > LARGEST_TENSOR:
        raise TeacherError(
            f"a tensor of shape {list(shape)} is asked for; sizes are at least 0 and their "
            f"product at most {LARGEST_TENSOR}"
        )
