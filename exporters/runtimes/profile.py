"""What ran in one inference, and on which provider, as ONNX Runtime's own profile tells it."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["RanNode", "profiled", "ran_nodes"]

SUFFIX = "_kernel_time"


@dataclass(frozen=True, slots=True, kw_only=True)
class RanNode:
    """A node of the graph as it was executed."""

    name: str
    """As ONNX Runtime calls it after its fusions."""
    operator: str
    """Its kind."""
    provider: str
    """ONNX Runtime's name of the provider that ran it."""


@contextmanager
def profiled(options: Any) -> Iterator[None]:
    """Sets session options so that sessions opened within the block write a profile.

    `ran_nodes` must be called within the block: the profile's folder goes with it.
    """
    with tempfile.TemporaryDirectory(prefix="cake-edge-") as folder:
        options.enable_profiling = True
        options.profile_file_prefix = os.fspath(Path(folder) / "profile")
        yield


def ran_nodes(session: Any) -> list[RanNode]:
    """Runs a profiled session once on a blank image, and ends the profile.

    The session goes on without a profile, and no slower than one that never had any.

    Returns:
        Every node that ran, in order.
    """
    blanks = {
        port.name: np.zeros([d if isinstance(d, int) else 1 for d in port.shape], np.float32)
        for port in session.get_inputs()
    }
    session.run(None, blanks)
    events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
    return [
        RanNode(
            name=event["name"].removesuffix(SUFFIX),
            operator=event["args"]["op_name"],
            provider=event["args"].get("provider", ""),
        )
        for event in events
        if event.get("cat") == "Node" and event["name"].endswith(SUFFIX)
    ]
