"""What processes that train one student tell each other, through Hugging Face Accelerate.

Accelerate finds its peers from what `torchrun` or `accelerate launch` put into the environment, and
takes NCCL between cards and gloo between processors. One that is alone needs none of it.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from timm.layers.norm_act import convert_sync_batchnorm
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from cake_edge.errors import CakeEdgeError, RuntimeUnavailable, UsageMistake
from cake_edge.ranks import ALONE, Rank

__all__ = ["SOLO", "Team", "assembled"]

FAILED = -1


@dataclass(frozen=True, slots=True)
class Team:
    """One rank's line to the others; every rank must make the same calls in the same order."""

    rank: Rank
    device: torch.device

    def wrap(self, network: nn.Module) -> nn.Module:
        """Returns `network`, averaging gradients over the ranks, from the first one's weights.

        On CUDA its batch norms see the batch of all ranks. On a CPU torch has no such layer: each
        rank normalises its own part, and the running statistics are the first one's.
        """
        if self.rank.alone:
            return network
        if self.device.type == "cpu":
            return DistributedDataParallel(network)
        network = convert_sync_batchnorm(network)  # type: ignore[no-untyped-call]
        return DistributedDataParallel(network, device_ids=[self.device])

    def mean(self, value: torch.Tensor) -> torch.Tensor:
        """Returns the mean over the ranks of a tensor on the team's device."""
        if self.rank.alone:
            return value
        from accelerate.utils import reduce

        averaged: torch.Tensor = reduce(value, "mean")
        return averaged

    def agree(self, value: torch.Tensor) -> torch.Tensor:
        """Returns, on every rank, the first one's tensor; of one shape on all of them."""
        if self.rank.alone:
            return value
        told = value.to(self.device)
        self._broadcast(told)
        return told.to(value.device)

    def decide(self, question: Callable[[], bool]) -> bool:
        """Returns, on every rank, what the first one answers.

        Raises:
            CakeEdgeError: on the others, where the first one's question raised.
        """
        if self.rank.alone:
            return question()
        answer = FAILED
        try:
            if self.rank.first:
                answer = int(question())
        finally:
            answer = self._of_first(answer)
        if answer == FAILED:
            raise CakeEdgeError("the first rank has stopped; its own message says why")
        return bool(answer)

    def refuse_other(self, digest: str) -> None:
        """Raises UsageMistake on a rank whose hexadecimal `digest` is not the first one's."""
        if self.rank.alone:
            return
        own = int(digest[:15], 16)
        if self._of_first(own) != own:
            raise UsageMistake(
                f"rank {self.rank.index} would train something else than rank 0: the command, the "
                "pool and the versions of all packages must be the same on every machine"
            )

    @contextmanager
    def file_of_first(self, path: Path) -> Iterator[Path]:
        """Yields where this rank finds the first one's file; only that rank's `path` is looked at.

        Where the first has no file, what is yielded does not exist.
        """
        if self.rank.alone:
            yield path
            return
        held = path.read_bytes() if self.rank.first and path.is_file() else b""
        content = torch.zeros(self._of_first(len(held)), dtype=torch.uint8, device=self.device)
        if self.rank.first:
            content.copy_(torch.frombuffer(bytearray(held), dtype=torch.uint8) if held else content)
        self._broadcast(content)
        if self.rank.first or not len(content):
            yield path if self.rank.first else path.with_name(f".{path.name}.none")
            return
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(folder) / "state"
            copy.write_bytes(content.cpu().numpy().tobytes())
            yield copy

    def _of_first(self, number: int) -> int:
        told = torch.tensor(number, dtype=torch.int64, device=self.device)
        self._broadcast(told)
        return int(told)

    def _broadcast(self, value: torch.Tensor) -> None:
        from accelerate.utils import broadcast

        broadcast(value, from_process=0)


SOLO = Team(ALONE, torch.device("cpu"))
"""Of one; it sends nothing, whatever the device."""


@contextmanager
def assembled(rank: Rank, device: torch.device) -> Iterator[Team]:
    """Yields the team once all ranks have come, and parts with them at the end.

    Raises:
        RuntimeUnavailable: there are several ranks, and Accelerate is not installed.
        UsageMistake: Accelerate was set up for something else than one copy a rank.
    """
    if rank.alone:
        yield Team(rank, device)
        return
    try:
        from accelerate import PartialState
    except ImportError as error:
        raise RuntimeUnavailable(
            f"to distil on {rank.world} ranks, Hugging Face Accelerate must be installed: "
            "pip install 'cake-edge[scale]'"
        ) from error
    # Without it Accelerate chooses another number of threads than --threads says.
    os.environ.setdefault("OMP_NUM_THREADS", str(torch.get_num_threads()))
    state = PartialState(cpu=device.type == "cpu")
    try:
        kind = str(state.distributed_type.value)
        if state.num_processes != rank.world or kind not in ("MULTI_CPU", "MULTI_GPU"):
            raise UsageMistake(
                f"Accelerate is set up as {kind} with {state.num_processes} processes; "
                "distillation wants plain copies: accelerate launch --multi_gpu, or torchrun"
            )
        yield Team(rank, device)
    finally:
        state.destroy_process_group()
