"""What an interrupted fine-tuning needs to go on to the same bytes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from cake_edge.provenance import atomic_path

__all__ = ["read_state", "restore", "write_state"]

Part = nn.Module | torch.optim.Optimizer


def write_state(path: Path, key: str, about: Mapping[str, Any], parts: Mapping[str, Part]) -> None:
    """Writes `about` and all tensors of the named parts, atomically.

    Args:
        key: hash of the plan; a state of another plan is not taken up.
    """
    tensors = {
        f"{part}/{name}": tensor.detach().cpu().clone().contiguous()
        for part, owner in parts.items()
        for name, tensor in _tensors(owner).items()
    }
    with atomic_path(path) as temporary:
        save_file(tensors, temporary, metadata={"state": json.dumps({"key": key, **about})})


def read_state(path: Path, key: str) -> tuple[dict[str, Any], dict[str, torch.Tensor]] | None:
    """Returns (about, tensors), or None where there is no whole state of this plan."""
    try:
        with safe_open(path, framework="pt") as stream:
            about = json.loads((stream.metadata() or {}).get("state", "{}"))
            if about.pop("key", None) != key:
                return None
            return about, {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118
    except (OSError, SafetensorError, ValueError):
        return None


def restore(tensors: Mapping[str, torch.Tensor], parts: Mapping[str, Part]) -> None:
    """Puts back what `write_state` took from the named parts, in place."""
    for part, owner in parts.items():
        mine = {
            name.partition("/")[2]: tensor
            for name, tensor in tensors.items()
            if name.startswith(f"{part}/")
        }
        if isinstance(owner, nn.Module):
            owner.load_state_dict(mine)
        else:
            _restore_optimiser(owner, mine)


def _tensors(owner: Part) -> dict[str, torch.Tensor]:
    if isinstance(owner, nn.Module):
        return dict(owner.state_dict())
    slots = owner.state_dict()["state"]
    return {
        f"{index}.{slot}": value
        for index, values in slots.items()
        for slot, value in values.items()
        if isinstance(value, torch.Tensor)
    }


def _restore_optimiser(optimiser: torch.optim.Optimizer, flat: Mapping[str, torch.Tensor]) -> None:
    weights = [weight for group in optimiser.param_groups for weight in group["params"]]
    slots: dict[int, dict[str, torch.Tensor]] = {}
    for name, tensor in flat.items():
        index, _, slot = name.partition(".")
        if slot != "step":
            # In the memory layout of its weight: another one may take another kernel.
            tensor = torch.empty_like(weights[int(index)]).copy_(tensor)
        slots.setdefault(int(index), {})[slot] = tensor
    groups = optimiser.state_dict()["param_groups"]
    optimiser.load_state_dict({"state": slots, "param_groups": groups})
