"""Whether TensorRT loads here and has a GPU to run on, found out in a process of its own.

Importing it may fail, and a runtime without a driver may end its process: what asks must survive.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from exporters.tensorrt.child import ask_child
from exporters.tensorrt.compiler import MODULES, installed_module, refuse_unusable

__all__ = ["Probe", "probe_tensorrt"]

CHILD = "exporters.tensorrt.probe_process"
RUNS_FIRST = tuple(reversed(MODULES))
"""To run, `tensorrt` is preferred: it is what Jetson has, and its engines are tuned when built."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """What a child found."""

    module: str
    """"tensorrt" or "tensorrt_rtx"."""
    version: str
    """Of that module; empty where its process died before it could say."""
    gpu: dict[str, Any] | None
    """As `Gpu.to_dict`; None where no driver answers."""
    runs: bool
    """Whether an engine could be opened."""
    reason: str
    """Why not, in a clause; empty where it does."""

    @property
    def loads(self) -> bool:
        """Whether the module was imported, with or without a GPU."""
        return bool(self.version)


def probe_tensorrt(module: str | None = None, *, timeout_seconds: float = 120) -> Probe:
    """Loads TensorRT in a child, looks for a GPU, and starts its runtime.

    Args:
        module: "tensorrt" or "tensorrt_rtx"; None takes the first that is installed.

    Raises:
        UsageMistake: no such module.
        RuntimeUnavailable: it is not installed, or does not load; the message has the line that
            installs it.
    """
    chosen = installed_module(module, preferred=RUNS_FIRST)
    reply = ask_child(CHILD, {"module": chosen}, timeout_seconds=timeout_seconds)
    refuse_unusable(reply, chosen)
    if reply["stage"] in ("crash", "timeout"):
        reason = "; ".join(reply["messages"])
        return Probe(module=chosen, version="", gpu=None, runs=False, reason=reason)
    return Probe(
        module=chosen,
        version=reply["version"],
        gpu=reply["gpu"],
        runs=not reply["reason"],
        reason=reply["reason"],
    )
