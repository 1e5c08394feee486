"""How ONNX Runtime's threads behave beside the work: what waiting costs, and where they run."""

from __future__ import annotations

import os
import re
import sys
from dataclasses import dataclass

from cake_edge.errors import UsageMistake

__all__ = ["SHARED", "OrtTuning"]

GROUP = re.compile(r"\d+(-\d+)?(,\d+(-\d+)?)*")


@dataclass(frozen=True, slots=True, kw_only=True)
class OrtTuning:
    """Settings of the threads inside one operator."""

    spinning: bool = False
    """Whether threads that wait burn their core: quicker to go on where every thread has a core to
    itself, and noise in every figure where cores are shared."""
    affinity: str | None = None
    """Processors of each thread but the first, which is the caller's own: numbered from 1, as
    "2;3-4" for three threads. None leaves it to the system."""

    def __post_init__(self) -> None:
        if self.affinity is None:
            return
        groups = self.affinity.split(";")
        if not all(GROUP.fullmatch(group) for group in groups):
            raise UsageMistake(
                f"affinity is {self.affinity!r}; write the processors of each thread but the "
                'first, numbered from 1, such as "2;3-4" for three threads'
            )
        known = _processors()
        for number in map(int, re.findall(r"\d+", self.affinity)):
            # ONNX Runtime says nothing of a processor that it cannot have.
            if number - 1 not in known:
                raise UsageMistake(
                    f"affinity names processor {number}; this process may use "
                    f"{', '.join(str(each + 1) for each in sorted(known))}, numbered from 1"
                )

    def entries(self, threads: int) -> dict[str, str]:
        """ONNX Runtime's session entries for so many threads.

        Raises:
            UsageMistake: the affinity is for another number of threads.
        """
        spin = "1" if self.spinning else "0"
        found = {"session.intra_op.allow_spinning": spin, "session.inter_op.allow_spinning": "0"}
        if self.affinity is None:
            return found
        groups = len(self.affinity.split(";"))
        if groups != threads - 1:
            raise UsageMistake(
                f"affinity {self.affinity!r} is for {groups + 1} threads, and threads is {threads}"
            )
        return {**found, "session.intra_op_thread_affinities": self.affinity}


SHARED = OrtTuning()
"""For a processor that others use too."""


def _processors() -> frozenset[int]:
    if sys.platform == "linux":
        return frozenset(os.sched_getaffinity(0))
    return frozenset(range(os.cpu_count() or 1))
