"""One seed, many independent named streams; the global random state is never touched."""

from __future__ import annotations

import hashlib

import torch

__all__ = ["derive_seed", "generator"]


def derive_seed(seed: int, *names: str | int) -> int:
    """Returns a 63-bit seed that depends on `seed` and on every name in order.

    Two streams with different names are independent, and so a shard or a training step can be
    recomputed alone: nothing depends on what was drawn before it.
    """
    text = "/".join([str(seed), *(str(name) for name in names)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def generator(seed: int, *names: str | int, device: str | torch.device = "cpu") -> torch.Generator:
    """Returns a generator on `device` for the stream `names` of `seed`."""
    return torch.Generator(device=device).manual_seed(derive_seed(seed, *names))
