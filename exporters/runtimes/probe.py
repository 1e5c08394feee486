"""Whether a provider of the ONNX Runtime here comes up, found out in a process of its own.

That a build has a provider says nothing of the libraries and the device which it needs; a provider
that lacks them is left out without an error, or takes its process down.
"""

from __future__ import annotations

from dataclasses import dataclass

from exporters.runtimes.providers import ProviderChoice
from exporters.tensorrt.child import ask_child

__all__ = ["ProviderProbe", "probe_provider"]

CHILD = "exporters.runtimes.probe_process"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderProbe:
    """What a child found."""

    provider: str
    """A name in `PROVIDERS`."""
    starts: bool
    """Whether a graph could be opened with it."""
    reason: str
    """Why not, in ONNX Runtime's words; empty where it does."""


def probe_provider(choice: ProviderChoice, *, timeout_seconds: float = 120) -> ProviderProbe:
    """Opens a graph of one operator with a provider.

    One that ONNX Runtime does not have, or that ends its process, is an answer and no error.
    """
    request = {"provider": str(choice)}
    reply = ask_child(CHILD, request, timeout_seconds=timeout_seconds)
    if reply["stage"] in ("crash", "timeout"):
        reason = "; ".join(reply["messages"])
        return ProviderProbe(provider=choice.name, starts=False, reason=reason)
    return ProviderProbe(provider=choice.name, starts=reply["starts"], reason=reply["reason"])
