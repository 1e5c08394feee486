"""From the words auto, cpu, cuda, cuda:N to a torch device: the one place that asks."""

from __future__ import annotations

import re

import torch

from cake_edge.errors import DeviceUnavailable, UsageMistake

__all__ = ["resolve_device"]


def resolve_device(name: str = "auto") -> torch.device:
    """Returns the device; "auto" takes CUDA where there is one.

    Raises:
        UsageMistake: the name is of another form.
        DeviceUnavailable: CUDA, or that card, is not there.
    """
    if name == "auto":
        return torch.device("cuda:0" if torch.cuda.is_available() else "cpu")
    if name == "cpu":
        return torch.device("cpu")
    found = re.fullmatch(r"cuda(?::(\d+))?", name)
    if found is None:
        raise UsageMistake(f"device {name!r} is not one of auto, cpu, cuda, cuda:N")
    if not torch.cuda.is_available():
        raise DeviceUnavailable(
            f"device {name!r} was asked for, but torch sees no CUDA device here; use --device cpu"
        )
    index, present = int(found[1] or 0), torch.cuda.device_count()
    if index >= present:
        raise DeviceUnavailable(
            f"device {name!r} was asked for, but there are {present} (cuda:0 to cuda:{present - 1})"
        )
    return torch.device("cuda", index)
