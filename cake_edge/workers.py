"""Independent work on several processes, one thread each.

On a processor many single-threaded processes finish shards faster than one process with many
threads, and one thread is what makes results the same to the bit.
"""

from __future__ import annotations

import io
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import active_children, get_context, resource_tracker
from types import FrameType
from typing import Any

import torch

from cake_edge.errors import CakeEdgeError

__all__ = ["follow_parent", "map_shards", "packed", "quiet_start", "unpacked", "watch_parent"]

_job: Callable[[int], None] | None = None
_working = False
_told = False


def map_shards(
    job: Callable[[int], None],
    indices: Sequence[int],
    *,
    workers: int,
    note: Callable[[int], None],
) -> None:
    """Calls `job(index)` for every index, in this process or in `workers` others, on one thread.

    Args:
        job: picklable; its calls do not depend on one another.
        note: told how many calls have ended.

    Raises:
        CakeEdgeError: a worker was killed; what `job` raises comes through as it is.
    """
    workers = min(workers, len(indices))
    if workers <= 1:
        with _one_thread():
            for done, index in enumerate(indices, start=1):
                job(index)
                note(done)
        return
    executor = ProcessPoolExecutor(
        workers,
        mp_context=get_context("spawn"),
        initializer=_start,
        initargs=(packed(job), os.getpid()),
    )
    try:
        with quiet_start():
            futures = [executor.submit(_call, index) for index in indices]
        for done, future in enumerate(as_completed(futures), start=1):
            future.result()
            note(done)
    except BrokenProcessPool as error:
        raise CakeEdgeError(
            "a worker process was killed (out of memory?); finished shards are kept: "
            "run the same command again, with fewer --workers"
        ) from error
    except KeyboardInterrupt:
        for process in active_children():
            process.terminate()
        raise
    finally:
        executor.shutdown(wait=True, cancel_futures=True)


@contextmanager
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def quiet_start() -> Iterator[None]:
    """Lets Ctrl-C pass by the processes that are started in the block.

    The terminal sends it to all of them, and one that is still importing would print a traceback.
    They inherit that it is blocked; here it is delivered as soon as the block ends.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    # multiprocessing's tracker lifts the block when it starts: it must run before.
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def packed(value: Any) -> bytes:
    """Returns a value as bytes for a process of ours; `unpacked` is the inverse.

    Tensors that are sent as they are go through shared memory, one open file each: a large teacher
    has more of them than a process may open, and a container's shared memory is small.
    """
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


def unpacked(data: bytes) -> Any:
    """Returns what `packed` was given; the bytes come from the process that started this one."""
    return torch.load(io.BytesIO(data), weights_only=False)


def _start(job: bytes, parent: int) -> None:
    global _job  # a worker process serves one job from start to end
    _job = unpacked(job)
    torch.set_num_threads(1)
    # Ctrl-C reaches every process of a terminal: the parent hears it, and tells its workers to end.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _stop)
    watch_parent(parent)


def _call(index: int) -> None:
    assert _job is not None
    global _working
    _working = True
    try:
        _job(index)
    except KeyboardInterrupt:
        os._exit(1)
    finally:
        _working = False


def _stop(number: int, frame: FrameType | None) -> None:
    """Ends a worker in silence, once what it has half written is taken away."""
    global _told
    if not _working:
        os._exit(1)
    if not _told:  # a second signal must not disturb the tidying up
        _told = True
        raise KeyboardInterrupt


def watch_parent(parent: int, every: float = 0.2) -> None:
    """Ends this process soon after its parent has died, so that a killed run leaves no writers."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(every)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def follow_parent(parent: int, threads: int, worker: int) -> None:
    """Calls `watch_parent`, in the form that a loader's `worker_init_fn` has.

    A teacher's answers hang on the threads in their last bits: they are to be the parent's.
    """
    torch.set_num_threads(threads)
    watch_parent(parent)
