"""Which of several processes this one is, as `torchrun` and `accelerate launch` tell it.

The library never looks at the environment by itself: a command asks `rank_here` and passes on what
it says, so that a call without a rank does the whole work.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cake_edge.errors import PoolError, UsageMistake

__all__ = ["ALONE", "Rank", "rank_here", "refuse_ranks", "wait_for_files"]

PATIENCE = 3600.0
"""Seconds without a new file after which the files of other ranks are given up."""
LOOK_EVERY = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Rank:
    """One process among `world`."""

    index: int = 0
    world: int = 1
    local: int = 0
    """Its number on this machine, and so its card."""
    neighbours: int = 1
    """Processes on this machine, itself included."""

    def __post_init__(self) -> None:
        if not (0 <= self.index < self.world and 0 <= self.local < self.neighbours <= self.world):
            raise UsageMistake(
                f"rank {self.index} of {self.world}, on its machine {self.local} of "
                f"{self.neighbours}, does not exist: RANK lies below WORLD_SIZE, LOCAL_RANK below "
                "LOCAL_WORLD_SIZE; start with torchrun or accelerate launch, which set them"
            )

    @property
    def alone(self) -> bool:
        """True where there is no other process."""
        return self.world == 1

    @property
    def first(self) -> bool:
        """True of the one that logs, prints and finishes."""
        return self.index == 0

    def share(self, indices: Sequence[int]) -> list[int]:
        """Returns those of `indices` that are this process's: every `world`-th number.

        It depends on the number alone, not on what else is in the list: ranks that see different
        parts of the work done agree on it without talking.
        """
        return [index for index in indices if index % self.world == self.index]

    def device(self, name: str) -> str:
        """Returns the device's name with this process's own card in it.

        "auto" and "cuda" mean `cuda:LOCAL_RANK` where there are cards; "cuda:N" stays as it is, for
        launchers that show each process one card alone.
        """
        if self.alone or name not in ("auto", "cuda"):
            return name
        # Here, so that a command can ask for its rank, and refuse, without waiting for torch.
        from torch import cuda

        return f"cuda:{self.local}" if name == "cuda" or cuda.is_available() else name

    def workers(self, number: int) -> int:
        """Returns this process's part of the worker processes of a machine, at least 1."""
        return max(1, number // self.neighbours)


ALONE = Rank()


def rank_here(environment: Mapping[str, str] = os.environ) -> Rank:
    """Returns the rank that the launcher gave this process; `ALONE` without one.

    Raises:
        UsageMistake: a variable is no number, or they do not fit together.
    """
    world = _number(environment, "WORLD_SIZE", 1)
    if world == 1:
        return ALONE
    index = _number(environment, "RANK", None)
    local = _number(environment, "LOCAL_RANK", 0)
    neighbours = _number(environment, "LOCAL_WORLD_SIZE", local + 1)
    return Rank(index=index, world=world, local=local, neighbours=neighbours)


def refuse_ranks(what: str, environment: Mapping[str, str] = os.environ) -> None:
    """Refuses a launch of several processes, each of which would do the whole of `what`.

    Raises:
        UsageMistake: there is more than this process.
    """
    rank = rank_here(environment)
    if not rank.alone:
        raise UsageMistake(
            f"{what} runs in one process, and {rank.world} were started: start it without torchrun "
            "or accelerate launch; synthesize and distill are the steps that share their work"
        )


def _number(environment: Mapping[str, str], name: str, default: int | None) -> int:
    text = environment.get(name, "" if default is None else str(default))
    if not (text.isascii() and text.isdigit()):
        raise UsageMistake(
            f"{name} is {text!r} in the environment; where WORLD_SIZE is set it must be a number. "
            "Start with torchrun or accelerate launch, which set it, or unset WORLD_SIZE"
        )
    return int(text)


def wait_for_files(
    files: Sequence[Path], told: Callable[[int], None], *, patience: float | None = None
) -> None:
    """Waits until every file is there; other ranks make them.

    Args:
        files: all of one folder.
        told: called with the number of files that are there, whenever it has grown.
        patience: seconds without a new file; an hour where it is not given.

    Raises:
        PoolError: nothing new has come for so long.
    """
    patience = PATIENCE if patience is None else patience
    names, seen, since = {file.name for file in files}, -1, time.monotonic()
    while True:
        # Listed, not asked for one by one: a network file system remembers what was not there.
        there = names & {entry.name for entry in os.scandir(files[0].parent)}
        if len(there) > seen:
            seen, since = len(there), time.monotonic()
            told(seen)
        if len(there) == len(names):
            return
        if time.monotonic() - since > patience:
            lost = sorted(names - there)
            raise PoolError(
                f"{len(lost)} of {len(names)} shards ({lost[0]}, …) have not come from the other "
                f"ranks, and none in {math.ceil(patience / 60)} minutes: give the same command "
                "again, with ranks or without; it makes what is missing"
            )
        time.sleep(LOOK_EVERY)
