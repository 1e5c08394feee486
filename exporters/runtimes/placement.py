"""Which provider took which nodes: counted in the open session, not believed of the request.

ONNX Runtime gives what a provider does not take to the processor and says nothing. From 1.24 on a
session tells who was assigned what; an older one is shown a blank image, and its profile read.
The first counts the file's nodes after the fusions that all providers share, the second those that
ran: where a provider compiles a part of the graph, the whole part is one.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

from cake_edge.errors import RuntimeUnavailable
from exporters.runtimes.profile import RanNode, ran_nodes
from exporters.runtimes.providers import ProviderChoice

__all__ = ["RECORD", "Placement", "placement", "refuse_fallback", "tells_assignment"]

RECORD = "session.record_ep_graph_assignment_info"
"""The session entry with which a session remembers; "1" for yes."""
NAMED = 5
"""Kinds of operators that a refusal names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """Who has what of a graph."""

    counts: dict[str, int]
    """Nodes by ONNX Runtime's name of the provider, most first."""
    counted: str
    """"assigned" by the session, or "ran" in a profile."""
    elsewhere: dict[str, dict[str, int]]
    """By provider other than the one asked for: kinds of operators, and how many of each."""


def tells_assignment(session: Any) -> bool:
    """Whether this version's sessions tell who was assigned what."""
    return hasattr(session, "get_provider_graph_assignment_info")


def placement(session: Any, choice: ProviderChoice) -> Placement:
    """Counts the nodes of an open session by provider.

    Args:
        session: an `onnxruntime.InferenceSession`, opened with the entry `RECORD`, or within
            `profiled` where it does not tell its assignment.
        choice: what was asked for.
    """
    told = tells_assignment(session)
    nodes = _assigned(session) if told else ran_nodes(session)
    wanted = choice.provider.ort_name
    elsewhere: dict[str, Counter[str]] = {}
    for node in nodes:
        if node.provider != wanted:
            elsewhere.setdefault(node.provider, Counter())[node.operator] += 1
    return Placement(
        counts=dict(Counter(node.provider for node in nodes).most_common()),
        counted="assigned" if told else "ran",
        elsewhere={provider: dict(kinds.most_common()) for provider, kinds in elsewhere.items()},
    )


def _assigned(session: Any) -> list[RanNode]:
    return [
        RanNode(name=node.name, operator=node.op_type, provider=part.ep_name)
        for part in session.get_provider_graph_assignment_info()
        for node in part.get_nodes()
    ]


def refuse_fallback(found: Placement, session: Any, choice: ProviderChoice, what: str) -> None:
    """Refuses a session that does not compute everything where it was asked to.

    Args:
        what: how the message names the model.

    Raises:
        RuntimeUnavailable: nodes went elsewhere; the message says how many of which kind.
    """
    wanted = choice.provider.ort_name
    if wanted not in session.get_providers():
        raise RuntimeUnavailable(f"{what}: {not_started(choice)}")
    if not found.elsewhere:
        return
    total = sum(found.counts.values())
    places = "; ".join(
        f"{sum(kinds.values())} on {provider} ({_kinds(kinds)})"
        for provider, kinds in found.elsewhere.items()
    )
    raise RuntimeUnavailable(
        f"{what}: {wanted} took {found.counts.get(wanted, 0)} of {total} nodes; "
        f"{places}. Accept that with --allow-fallback, or give a file that it takes whole"
    )


def not_started(choice: ProviderChoice) -> str:
    """The sentence for a provider that is there and does not come up."""
    return (
        f"{choice.provider.ort_name} is part of ONNX Runtime here but did not start, because its "
        "libraries, its device or a version are not what it needs: what it printed, or `cake-edge "
        "doctor`, says which"
    )


def _kinds(kinds: dict[str, int]) -> str:
    named = [f"{count} {kind}" for kind, count in list(kinds.items())[:NAMED]]
    return ", ".join([*named, *(["…"] if len(kinds) > NAMED else [])])
