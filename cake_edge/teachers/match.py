"""Pairs the tensors of a checkpoint with those of a network: by name, or by order and shape."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import torch

from cake_edge.errors import TeacherError

__all__ = [
    "Matched",
    "Prefixes",
    "find_prefixes",
    "match_by_name",
    "match_by_order",
    "needed_of_file",
    "needed_of_network",
    "order_problem",
]

SELF_MADE = (
    "num_batches_tracked",
    "relative_position_index",
    "relative_coords_table",
    "attn_mask",
    "position_ids",
)
"""Last parts of names whose tensors a file may lack: a network makes them itself, and counts of
training steps take no part in its answer."""

LEAVES = frozenset({"weight", "bias", "running_mean", "running_var"})
"""Last parts of a name that mean the same in every network."""

FOREIGN = re.compile(
    r"(.*\.)?(total_ops|total_params|n_averaged)"
    r"|(criterion|loss|losses|loss_fn|loss_func|metrics|(train|val|test)_(acc|loss|metrics?))\..*"
)
"""Names that are no network's: counts of a profiler or of an average, the weights of a loss."""

ANOTHER = "name another architecture with --arch, or give it other --arguments"
SHOWN = 4
"""How many names an error lists of each kind."""

State = Mapping[str, torch.Tensor]
Pairs = list[tuple[str, str]]


class Matched(NamedTuple):
    """Which tensor of a file goes where."""

    pairs: Pairs
    """(name in the file, name in the network), in the network's order."""
    left_out: list[str]
    """Names in the file that are no tensors of the network."""


class Prefixes(NamedTuple):
    """What stands before equal names: `theirs` in the file, `ours` in the network."""

    theirs: str
    ours: str

    def their_name(self, name: str) -> str:
        """Returns the name in the file of the network's `name`."""
        return self.theirs + name.removeprefix(self.ours)


def find_prefixes(given: Iterable[str], wanted: Iterable[str], where: str) -> Prefixes:
    """Returns the prefixes under which most of the names agree.

    A wrapper's name may stand before the names in the file, or in the network. Where the file has
    the whole network twice, averaged weights ("ema" in the prefix) are taken.

    Raises:
        TeacherError: the file has the network several times, and none or several are averaged.
    """
    names = list(wanted)
    counts: Counter[Prefixes] = Counter()
    for ours in _shared_prefixes(names):
        bare = {name.removeprefix(ours) for name in names}
        for name in given:
            for start in (0, *(dot.end() for dot in re.finditer(r"\.", name))):
                if name[start:] in bare:
                    counts[Prefixes(name[:start], ours)] += 1
    if not counts:
        return Prefixes("", "")
    most = max(counts.values())
    best: dict[str, Prefixes] = {}
    for prefixes in sorted((p for p, n in counts.items() if n == most), key=_length):
        # Two ways that pair the same tensors are one.
        best.setdefault(prefixes.their_name(names[0]), prefixes)
    ways = list(best.values())
    if len(ways) == 1 or most < len(names):
        return ways[0]
    averaged = [p for p in ways if "ema" in p.theirs.lower()]
    if len(averaged) == 1:
        return averaged[0]
    places = ", ".join(p.theirs or "no prefix" for p in ways)
    raise TeacherError(
        f"{where}: the file has the network {len(ways)} times, under {places}; save the weights "
        "that you mean alone"
    )


def _length(prefixes: Prefixes) -> tuple[int, int]:
    return len(prefixes.theirs), len(prefixes.ours)


def _shared_prefixes(names: list[str]) -> list[str]:
    """The empty prefix, and what all names begin with, cut at dots."""
    found = [""]
    while names:
        first = names[0][len(found[-1]) :].partition(".")
        prefix = found[-1] + first[0] + "."
        if not first[1] or not all(name.startswith(prefix) for name in names):
            return found
        found.append(prefix)
    return found


def match_by_name(given: State, state: State, where: str) -> Matched:
    """Pairs tensors of equal names, whatever stands before all of them.

    Args:
        given: the file's tensors.
        state: the network's.
        where: how an error begins.

    Raises:
        TeacherError: names or shapes differ; the message lists them, and says what would fit.
    """
    wanted = needed_of_network(state)
    prefixes = find_prefixes(given, wanted, where)
    pairs = [(prefixes.their_name(name), name) for name in state]
    pairs = [p for p in pairs if p[1] in wanted or _same_shape(given, state, *p)]
    missing = [ours for theirs, ours in pairs if theirs not in given]
    reshaped = [
        f"{ours} {list(given[theirs].shape)} in the file, {list(state[ours].shape)} in the network"
        for theirs, ours in pairs
        if theirs in given and not _same_shape(given, state, theirs, ours)
    ]
    used = {theirs for theirs, _ in pairs}
    left_out = [name for name in given if name not in used]
    # What lies beside the place where the whole network was found belongs to its training.
    within = prefixes.theirs if not missing else ""
    unexpected = [name for name in needed_of_file(left_out) if name.startswith(within)]
    faults = [
        _some(missing, "missing"),
        _some(unexpected, "unexpected"),
        _some(reshaped, "of another shape"),
    ]
    if any(faults):
        advice = (
            f"all {len(wanted)} tensors fit by order and shape: add --match order"
            if order_problem(given, state) is None
            else f"by order they do not fit either; {ANOTHER}"
        )
        raise TeacherError(f"{where}: {'; '.join(filter(None, faults))}. {advice.capitalize()}")
    return Matched(pairs, left_out)


def match_by_order(given: State, state: State, where: str) -> Matched:
    """Pairs the n-th tensor with the n-th, and wherever it stands one whose shape is unique.

    Args:
        given: the file's tensors, in the order of the file.
        state: the network's, in its order.
        where: how an error begins.

    Raises:
        TeacherError: the numbers differ, or the n-th tensors cannot be the same one.
    """
    theirs, ours = needed_of_file(given), needed_of_network(state)
    once, there = _unique(given, theirs), _unique(state, ours)
    found = {there[kind]: once[kind] for kind in once.keys() & there.keys()}
    fixed = set(found.values())
    theirs, ours = [n for n in theirs if n not in fixed], [n for n in ours if n not in found]
    problem = order_problem({n: given[n] for n in theirs}, {n: state[n] for n in ours})
    if problem is not None:
        raise TeacherError(
            f"{where}: the tensors do not fit by order: {order_problem(given, state) or problem}. "
            f"{ANOTHER.capitalize()}"
        )
    found.update(zip(ours, theirs, strict=True))
    found.update(_by_place(given, state))
    used = set(found.values())
    pairs = [(found[name], name) for name in state if name in found]
    return Matched(pairs, [name for name in given if name not in used])


def needed_of_network(state: Iterable[str]) -> list[str]:
    """Returns the names that a file must bring."""
    return [name for name in state if not name.endswith(SELF_MADE)]


def needed_of_file(given: Iterable[str]) -> list[str]:
    """Returns the names that some network computes its answer with."""
    return [name for name in needed_of_network(given) if not FOREIGN.fullmatch(name)]


def _same_shape(given: State, state: State, theirs: str, ours: str) -> bool:
    return theirs in given and given[theirs].shape == state[ours].shape


def _by_place(given: State, state: State) -> dict[str, str]:
    """Pairs the tensors that networks make themselves, where both sides have as many."""
    theirs = [name for name in given if name.endswith(SELF_MADE)]
    ours = [name for name in state if name.endswith(SELF_MADE)]
    if [given[n].shape for n in theirs] != [state[n].shape for n in ours]:
        return {}
    return dict(zip(ours, theirs, strict=True))


def _unique(state: State, names: list[str]) -> dict[tuple[object, str], str]:
    """Names by (shape, kind), of those that no other tensor shares."""
    kinds = {name: (state[name].shape, _leaf(name)) for name in names}
    times = Counter(kinds.values())
    return {kind: name for name, kind in kinds.items() if times[kind] == 1}


def _leaf(name: str) -> str:
    return name.rpartition(".")[2]


def order_problem(given: State, state: State) -> str | None:
    """Returns why the n-th tensors do not belong together, or None where they do.

    Shapes must be equal, and so must what a name ends in where both ends are of the usual four:
    the four vectors of a BatchNorm have one shape, so that shape alone would let them swap.
    Tensors that no answer is computed with are passed over.
    """
    names, wanted = needed_of_file(given), needed_of_network(state)
    for place, (theirs, ours) in enumerate(zip(names, wanted, strict=False), 1):
        pair = f"{theirs} {list(given[theirs].shape)} and {ours} {list(state[ours].shape)}"
        if given[theirs].shape != state[ours].shape:
            return f"at position {place} the shapes differ, {pair}"
        ends = {_leaf(theirs), _leaf(ours)}
        if len(ends) == 2 and ends <= LEAVES:
            return f"at position {place} the kinds differ, {pair}"
    if len(names) != len(wanted):
        return f"the file has {len(names)} tensors, the network {len(wanted)}"
    return None


def _some(names: list[str], what: str) -> str:
    if not names:
        return ""
    more = f", and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return f"{len(names)} {what} ({', '.join(names[:SHOWN])}{more})"
