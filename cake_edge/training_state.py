"""What an interrupted training needs to go on to the same bytes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from cake_edge.provenance import atomic_path

__all__ = ["Average", "History", "restore_state", "save_state", "saved_average"]


class Average:
    """An exponential moving average of a network's whole state, buffers included."""

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.decay = decay
        self.state = {name: t.detach().clone() for name, t in network.state_dict().items()}

    @torch.no_grad()
    def update(self, network: nn.Module, step: int) -> None:
        """Takes the state after `step` steps in; the first steps count more (bias correction)."""
        weight = max(1 - self.decay, 1 / (step + 1))
        new = network.state_dict()
        floats = [name for name, t in self.state.items() if t.is_floating_point()]
        torch._foreach_lerp_(
            [self.state[name] for name in floats], [new[name] for name in floats], weight
        )
        for name in self.state.keys() - set(floats):
            self.state[name].copy_(new[name])


@dataclass(slots=True, kw_only=True)
class History:
    """What a training has done so far, and found out before."""

    step: int = 0
    """Steps done."""
    curve: list[tuple[int, float]] = field(default_factory=list)
    """(step, mean loss since the point before)."""
    checks: list[tuple[int, float]] = field(default_factory=list)
    """(step, percent of decisions on held-out images that are the teacher's), where they decide."""
    turned: int | None = None
    """The step from which the learning rate falls, where that was decided on the way."""
    matching: dict[str, float] | None = None
    """How near the statistics of the images as drawn come to those that the teacher remembers, as
    `Matching.to_dict` says: empty where there is nothing to match, None where nobody asked."""
    weights: torch.Tensor | None = None
    """[N], of which each of the pool's images is drawn in proportion, where that is so."""
    ranks: list[int] = field(default_factory=list)
    """How many ranks have trained, in turn."""

    @staticmethod
    def from_dict(values: Mapping[str, Any]) -> History:
        """Reads what `to_dict` gave, after a way through JSON."""
        return History(
            step=int(values["step"]),
            curve=[(int(step), float(loss)) for step, loss in values["curve"]],
            checks=[(int(step), float(alike)) for step, alike in values["checks"]],
            turned=None if values["turned"] is None else int(values["turned"]),
            matching=values.get("matching"),
            ranks=[int(number) for number in values["ranks"]],
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain values; the weights are none, and go beside them."""
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name != "weights"}


def save_state(
    path: Path,
    *,
    key: str,
    history: History,
    network: nn.Module,
    average: Average,
    optimiser: torch.optim.Optimizer,
    window: torch.Tensor,
) -> None:
    """Writes everything of an unfinished training, atomically.

    Args:
        key: hash of the plan; a state of another plan is not taken up.
        history: what has been done.
        window: sum of the losses since the last point of the curve.
    """
    tensors = {"window.sum": window} | {
        f"network.{name}": t for name, t in network.state_dict().items()
    }
    tensors |= {f"average.{name}": t for name, t in average.state.items()}
    for index, slots in optimiser.state_dict()["state"].items():
        # What is no tensor, Muon's choice of weights, follows from these and is found again.
        tensors |= {
            f"optimiser.{index}.{slot}": value
            for slot, value in slots.items()
            if isinstance(value, torch.Tensor)
        }
    if history.weights is not None:
        tensors["views.weights"] = history.weights
    about = {"key": key, "history": history.to_dict()}
    contiguous = {name: t.detach().cpu().clone().contiguous() for name, t in tensors.items()}
    with atomic_path(path) as temporary:
        save_file(contiguous, temporary, metadata={"state": json.dumps(about)})


def restore_state(
    path: Path,
    *,
    key: str,
    network: nn.Module,
    average: Average,
    optimiser: torch.optim.Optimizer,
    window: torch.Tensor,
) -> History:
    """Loads what `save_state` wrote, in place; returns what had been done.

    A missing file, a damaged one or one of another plan gives no history: training starts afresh.
    """
    found = _read(path, key)
    if found is None:
        return History()
    parts, history = found
    network.load_state_dict(parts["network"])
    for name, tensor in parts["average"].items():
        average.state[name].copy_(tensor)
    window.copy_(parts["window"]["sum"])
    _restore_optimiser(optimiser, parts.get("optimiser", {}))
    return history


def saved_average(path: Path, *, key: str) -> tuple[dict[str, torch.Tensor], History] | None:
    """Returns the average of weights in what `save_state` wrote; None where there is none."""
    found = _read(path, key)
    if found is None:
        return None
    parts, history = found
    return parts["average"], history


def _read(path: Path, key: str) -> tuple[dict[str, dict[str, torch.Tensor]], History] | None:
    """The tensors by what they are of, and what had been done."""
    try:
        with safe_open(path, framework="pt") as stream:
            about = json.loads((stream.metadata() or {}).get("state", "{}"))
            if about.get("key") != key:
                return None
            tensors = {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118
    except (OSError, SafetensorError, ValueError):
        return None
    parts: dict[str, dict[str, torch.Tensor]] = {}
    for name, tensor in tensors.items():
        part, _, rest = name.partition(".")
        parts.setdefault(part, {})[rest] = tensor
    history = History.from_dict(about["history"])
    history.weights = parts.get("views", {}).get("weights")
    return parts, history


def _restore_optimiser(optimiser: torch.optim.Optimizer, flat: Mapping[str, torch.Tensor]) -> None:
    slots: dict[int, dict[str, Any]] = {}
    for name, tensor in flat.items():
        index, _, slot = name.partition(".")
        slots.setdefault(int(index), {})[slot] = tensor
    weights = [weight for group in optimiser.param_groups for weight in group["params"]]
    for number, values in slots.items():
        for slot, tensor in values.items():
            # Adam keeps its step counters on the CPU wherever the weights are.
            if slot != "step":
                # In the memory layout of its weight: another one may take another kernel.
                values[slot] = torch.empty_like(weights[number]).copy_(tensor)
    state = optimiser.state_dict()
    optimiser.load_state_dict({"state": slots, "param_groups": state["param_groups"]})
