"""Runs a program on shapes alone, to know what it would take before it takes anything.

On torch's meta device tensors have sizes and no memory, so a step that would fill the machine is
seen before it is run. Values do not exist there: a program whose course hangs on them cannot pass.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from cake_edge.errors import TeacherError

__all__ = ["MOST_STEPS", "bounded", "shapes_of"]

MOST_STEPS = 10_000
"""Operators that one call of a program may run: large classifiers need two thousand."""

MOST_ELEMENTS = 1 << 27
"""Elements of one intermediate result for each image: 512 MiB of float32."""

MOST_TOTAL = 1 << 34
"""Elements of all intermediate results together for each image."""

MOST_OPERATIONS = 5e12
"""Floating-point operations for each image: more than timm's largest classifier needs."""


class _Meter(TorchDispatchMode):
    """Adds up what every operator below the program's own would make and compute."""

    def __init__(self, images: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.images = images
        self.steps, self.elements, self.operations = 0, 0, 0.0

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        made = [leaf.numel() for leaf in tree_leaves(result) if isinstance(leaf, torch.Tensor)]
        self.steps += 1
        self.elements += sum(made)
        count = flop_registry.get(func._overloadpacket)
        if count is not None:
            self.operations += count(*args, **(kwargs or {}), out_val=result)
        room = max(1, self.images)
        for what, found, most in (
            ("operators", self.steps, MOST_STEPS),
            ("elements in one result", max(made, default=0) / room, MOST_ELEMENTS),
            ("elements in its results", self.elements / room, MOST_TOTAL),
            ("floating-point operations", self.operations / room, MOST_OPERATIONS),
        ):
            if found > most:
                raise TeacherError(
                    f"the program needs more than {most:,.0f} {what} an image, at its operator "
                    f"{func}; no classifier does, so it is damaged or made to exhaust the machine"
                )
        return result


@contextmanager
def bounded(images: int) -> Iterator[None]:
    """Measures what is run in the block, for a batch of `images`.

    Raises:
        TeacherError: it would need more than any classifier.
    """
    with _Meter(images), torch.no_grad():
        yield


def shapes_of(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Returns tensors of the same shapes, strides and types that hold nothing."""
    return {name: torch.empty_like(tensor, device="meta") for name, tensor in tensors.items()}
