"""Pooled images where they lie, gathered by index.

A pool at 224 pixels does not fit into memory twice, and processes that make views must not copy
it: on a CPU images are read through a memory map that all processes share.
"""

from __future__ import annotations

from bisect import bisect_right
from itertools import accumulate
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from cake_edge.errors import PoolError
from cake_edge.spec import ImageSpec
from cake_edge.storage import decoded

__all__ = ["HeldImages", "ImageSource", "MappedImages", "read_tensors"]


class ImageSource(Protocol):
    """Images that can be gathered by index."""

    def __len__(self) -> int: ...

    def gather(self, index: torch.Tensor) -> torch.Tensor:
        """Returns images [M, C, H, W] float32 for indices [M], on the indices' device."""


class HeldImages:
    """Images in memory, on any device, as a pool keeps them."""

    def __init__(self, images: torch.Tensor, spec: ImageSpec) -> None:
        self.images, self.spec = images, spec

    def __len__(self) -> int:
        return len(self.images)

    def gather(self, index: torch.Tensor) -> torch.Tensor:
        """Returns images [M, C, H, W] float32 for indices [M]."""
        return decoded(self.images[index], self.spec)


class MappedImages:
    """Images in the shards of a pool; a copy that goes to another process opens its own maps."""

    def __init__(self, files: list[Path], sizes: list[int], spec: ImageSpec) -> None:
        """Names the shards.

        Args:
            files: safetensors files, in order.
            sizes: how many images each of them holds.
            spec: of the space that they are read back in.
        """
        self.files, self.starts, self.spec = files, [0, *accumulate(sizes)], spec
        self._maps: dict[int, torch.Tensor] = {}

    def __len__(self) -> int:
        return self.starts[-1]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_maps": {}}

    def gather(self, index: torch.Tensor) -> torch.Tensor:
        """Returns images [M, C, H, W] float32 for indices [M].

        Raises:
            PoolError: a shard is missing or damaged.
        """
        rows = [self._row(place) for place in index.tolist()]
        if not rows:
            return torch.zeros((0, *self.spec.input_size), device=index.device)
        return decoded(torch.stack(rows).to(index.device), self.spec)

    @property
    def nbytes(self) -> int:
        """Size of all images as they are stored, in bytes."""
        first = self._shard(0)
        return first[0].nbytes * len(self)

    def copy_to(self, device: torch.device) -> torch.Tensor:
        """Returns all images on `device` as they are stored, for `HeldImages`."""
        first = self._shard(0)
        held = torch.empty((len(self), *first.shape[1:]), dtype=first.dtype, device=device)
        for number, start in enumerate(self.starts[:-1]):
            held[start : self.starts[number + 1]] = self._shard(number)
        return held

    def _row(self, place: int) -> torch.Tensor:
        shard = bisect_right(self.starts, place) - 1
        return self._shard(shard)[place - self.starts[shard]]

    def _shard(self, number: int) -> torch.Tensor:
        if number not in self._maps:
            self._maps[number] = read_tensors(self.files[number])["images"]
        return self._maps[number]


def read_tensors(file: Path) -> dict[str, torch.Tensor]:
    """Opens a shard: images, logits, targets and steps, as they are stored.

    The tensors lie in a memory map: what is not touched is not read.

    Raises:
        PoolError: the shard is missing or damaged.
    """
    try:
        tensors = load_file(file)
        return {name: tensors[name] for name in ("images", "logits", "targets", "steps")}
    except FileNotFoundError as error:
        raise PoolError(f"the pool lost its shard {file}; make the pool again") from error
    except (SafetensorError, KeyError, OSError) as error:
        raise PoolError(f"the shard {file} is damaged ({error}); make the pool again") from error
