"""Which layers the error comes from, and how many of them must stay float to keep the classes."""

from __future__ import annotations

import onnx

from exporters.quantize.config import QuantizeConfig
from exporters.quantize.insert import weighted_nodes
from exporters.quantize.search import Candidate, Search

__all__ = ["hold_agreement", "meet_size", "savings"]


def savings(search: Search, candidate: Candidate) -> dict[str, float]:
    """Returns by node how much divergence (nats) leaving it alone in float saves, most first."""
    saved = {}
    for node in weighted_nodes(candidate.source, search.dialect):
        if node.name in candidate.left_float:
            continue
        without = search.in_float(candidate, (node.name,), record=False)
        saved[node.name] = candidate.score.divergence - without.score.divergence
    return dict(sorted(saved.items(), key=lambda item: (-item[1], item[0])))


def hold_agreement(
    search: Search, candidate: Candidate, order: list[str], config: QuantizeConfig
) -> Candidate:
    """Leaves the first so many of `order` in float that the judge's images keep their classes.

    Returns:
        The candidate with the fewest nodes in float, up to a factor of two in their number, that
        holds; or the one with all of them.
    """
    best, low, high = candidate, 0, 0
    while not config.allows(best.score.agreement):
        if high == len(order):
            return best
        low, high = high, min(len(order), max(1, 2 * high))
        best = search.in_float(candidate, tuple(order[:high]))
    while high - low > 1:
        middle = (low + high) // 2
        tried = search.in_float(candidate, tuple(order[:middle]))
        if config.allows(tried.score.agreement):
            best, high = tried, middle
        else:
            low = middle
    return best


def meet_size(search: Search, candidate: Candidate, most_bytes: int) -> Candidate:
    """Narrows weights to 4 bits, those that hurt least for the bytes they save first.

    Args:
        most_bytes: of the model without its metadata.

    Returns:
        The candidate within `most_bytes`, or the one with all weights in 4 bits.
    """
    sizes = {weight.name: _values(weight) for weight in candidate.source.graph.initializer}
    base = search.in_four_bits(candidate, candidate.four_bit, record=False)
    harm = {}
    for node in weighted_nodes(candidate.source, search.dialect):
        if node.input[1] in sizes and node.name not in candidate.left_float:
            narrowed = search.in_four_bits(base, (*base.four_bit, node.name), record=False)
            added = narrowed.score.divergence - base.score.divergence
            harm[node.name] = (max(added, 0.0) / sizes[node.input[1]], sizes[node.input[1]] // 2)
    left = sorted(harm, key=lambda name: (harm[name][0], name))
    narrow, best = list(candidate.four_bit), candidate
    while left and best.model.ByteSize() > most_bytes:
        excess = best.model.ByteSize() - most_bytes
        while left and excess > 0:
            narrow.append(left.pop(0))
            excess -= harm[narrow[-1]][1]
        best = search.in_four_bits(candidate, tuple(narrow))
    return best


def _values(weight: onnx.TensorProto) -> int:
    count = 1
    for size in weight.dims:
        count *= size
    return count
