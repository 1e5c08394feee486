"""What a rule is, and what it finds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from exporters.lint.graph import Graph

__all__ = ["SEVERITIES", "SHOWN", "Finding", "Rule"]

SEVERITIES = {
    "rejected": "the target refuses the file, or silently computes something else",
    "float": "this part runs in float although its surroundings are quantized",
    "slow": "it runs, and slower than it could",
    "note": "worth knowing",
}
"""The kinds of finding, the worst first."""
SHOWN = 5
"""Names of nodes that a finding carries; their number is not limited."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One thing to look for, and what to say where it is found."""

    name: str
    """Kebab-case; what a finding is called."""
    severity: str
    """A key of `SEVERITIES`."""
    targets: tuple[str, ...]
    """Targets it holds for, by name or by the beginning of it; "" is all of them."""
    find: Callable[[Graph], list[str]]
    """Returns where: names of nodes, or what the finding is about; empty where all is well."""
    reason: str
    """What is wrong with it, and why, in one sentence."""
    remedy: str
    """The command or action that mends it; {model} and {target} are filled in."""

    def holds_for(self, target: str) -> bool:
        """Whether the rule is one of `target`."""
        return any(
            target == name or (name.endswith("-") and target.startswith(name)) or not name
            for name in self.targets
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something in a file that its target will not take as it is meant."""

    rule: str
    """Name of the rule."""
    severity: str
    """A key of `SEVERITIES`."""
    nodes: tuple[str, ...]
    """Names of the first `SHOWN` nodes, or what the finding is about."""
    count: int
    """How many there are."""
    reason: str
    """What is wrong, and why."""
    remedy: str
    """What mends it."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {**asdict(self), "nodes": list(self.nodes)}
