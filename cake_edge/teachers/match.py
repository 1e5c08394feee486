"""Pairs the tensors of a checkpoint with those of a network: by name, or by order and shape."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from cake_edge.errors import TeacherError

__all__ = ["match_by_name", "match_by_order", "order_problem", "wanted_tensors"]

COUNTER = "num_batches_tracked"
"""BatchNorm's count of training steps: takes no part in inference; old checkpoints lack it."""

LEAVES = frozenset({"weight", "bias", "running_mean", "running_var"})
"""Last parts of a name that mean the same in every network."""

SHOWN = 4
"""How many names an error lists of each kind."""

State = Mapping[str, torch.Tensor]
Pairs = list[tuple[str, str]]


def wanted_tensors(network: torch.nn.Module, given: State) -> dict[str, torch.Tensor]:
    """Returns what `given` must provide: the network's state, counters only if `given` has some."""
    counted = any(name.endswith(COUNTER) for name in given)
    return {
        name: tensor
        for name, tensor in network.state_dict().items()
        if counted or not name.endswith(COUNTER)
    }


def match_by_name(given: State, wanted: State, where: str) -> Pairs:
    """Returns (name in the file, name in the network) for every tensor of the network.

    Raises:
        TeacherError: names or shapes differ; the message lists them, and says what would fit.
    """
    missing = [name for name in wanted if name not in given]
    unexpected = [name for name in given if name not in wanted]
    reshaped = [
        f"{name} {list(given[name].shape)} in the file, {list(wanted[name].shape)} in the network"
        for name in wanted
        if name in given and given[name].shape != wanted[name].shape
    ]
    faults = [
        _some(missing, "missing"),
        _some(unexpected, "unexpected"),
        _some(reshaped, "of another shape"),
    ]
    if any(faults):
        problem = order_problem(given, wanted)
        advice = (
            f"all {len(wanted)} tensors fit by order and shape: add --match order"
            if problem is None
            else "by order they do not fit either; name another architecture with --arch"
        )
        raise TeacherError(f"{where}: {'; '.join(filter(None, faults))}. {advice.capitalize()}")
    return [(name, name) for name in wanted]


def match_by_order(given: State, wanted: State, where: str) -> Pairs:
    """Returns (name in the file, name in the network), the n-th with the n-th.

    Raises:
        TeacherError: the numbers differ, or the n-th tensors cannot be the same one.
    """
    problem = order_problem(given, wanted)
    if problem is not None:
        raise TeacherError(
            f"{where}: the tensors do not fit by order: {problem}. "
            "Name another architecture with --arch"
        )
    return list(zip(given, wanted, strict=True))


def order_problem(given: State, wanted: State) -> str | None:
    """Returns why the n-th tensors do not belong together, or None where they do.

    Shapes must be equal, and so must what a name ends in where both ends are of the usual four:
    the four vectors of a BatchNorm have one shape, so that shape alone would let them swap.
    """
    for place, (theirs, ours) in enumerate(zip(given, wanted, strict=False), 1):
        pair = f"{theirs} {list(given[theirs].shape)} and {ours} {list(wanted[ours].shape)}"
        if given[theirs].shape != wanted[ours].shape:
            return f"at position {place} the shapes differ, {pair}"
        ends = {theirs.rpartition(".")[2], ours.rpartition(".")[2]}
        if len(ends) == 2 and ends <= LEAVES:
            return f"at position {place} the kinds differ, {pair}"
    if len(given) != len(wanted):
        return f"the file has {len(given)} tensors, the network {len(wanted)}"
    return None


def _some(names: list[str], what: str) -> str:
    if not names:
        return ""
    more = f", and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return f"{len(names)} {what} ({', '.join(names[:SHOWN])}{more})"
