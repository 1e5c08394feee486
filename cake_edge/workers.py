"""Independent work on several processes, one thread each.

On a processor many single-threaded processes finish shards faster than one process with many
threads, and one thread is what makes results the same to the bit.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context

import torch

from cake_edge.errors import CakeEdgeError

__all__ = ["map_shards", "watch_parent"]

_job: Callable[[int], None] | None = None


def map_shards(
    job: Callable[[int], None],
    indices: Sequence[int],
    *,
    workers: int,
    note: Callable[[int], None],
) -> None:
    """Calls `job(index)` for every index, in this process or in `workers` others.

    Args:
        job: picklable; its calls do not depend on one another.
        note: told how many calls have ended.

    Raises:
        CakeEdgeError: a worker was killed; what `job` raises comes through as it is.
    """
    workers = min(workers, len(indices))
    if workers <= 1:
        for done, index in enumerate(indices, start=1):
            job(index)
            note(done)
        return
    executor = ProcessPoolExecutor(
        workers, mp_context=get_context("spawn"), initializer=_start, initargs=(job, os.getpid())
    )
    try:
        futures = [executor.submit(_call, index) for index in indices]
        for done, future in enumerate(as_completed(futures), start=1):
            future.result()
            note(done)
    except BrokenProcessPool as error:
        raise CakeEdgeError(
            "a worker process was killed (out of memory?); finished shards are kept: "
            "run the same command again, with fewer --workers"
        ) from error
    finally:
        executor.shutdown(wait=True, cancel_futures=True)


def _start(job: Callable[[int], None], parent: int) -> None:
    global _job  # a worker process serves one job from start to end
    _job = job
    torch.set_num_threads(1)
    watch_parent(parent)


def _call(index: int) -> None:
    assert _job is not None
    _job(index)


def watch_parent(parent: int, every: float = 0.2) -> None:
    """Ends this process soon after its parent has died, so that a killed run leaves no writers."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(every)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
