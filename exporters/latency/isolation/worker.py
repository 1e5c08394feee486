"""The near side of a process that holds one model: asks, waits so long and no longer, and ends it.

The child starts from this interpreter with this import path, so that it works from a checkout, an
installation, or the zip archive that a board is sent.
"""

from __future__ import annotations

import json
import logging
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import IO, Any

from cake_edge import errors
from cake_edge.errors import CakeEdgeError, UsageMistake
from exporters.latency.isolation import endings

__all__ = ["Setting", "Worker", "WorkerFailed"]

logger = logging.getLogger(__name__)

CHILD = "exporters.latency.isolation.child"
BOOT = (
    "import runpy, sys; sys.path[:] = sys.argv[2:]; runpy.run_module(sys.argv[1], None, '__main__')"
)
GOODBYE_SECONDS = 10.0
TAIL = 1 << 14
LEAST_MIB = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What a process may take."""

    timeout_seconds: float = 120.0
    """How much longer than it was asked to work it may be silent before it is ended."""
    memory_limit_mib: int | None = None
    """Address space that it may use, or None for all there is."""

    def __post_init__(self) -> None:
        if not 0 < self.timeout_seconds <= 86400:
            raise UsageMistake(
                f"timeout_seconds is {self.timeout_seconds}; it must lie in (0, 86400]"
            )
        limit = self.memory_limit_mib
        if limit is not None and limit < LEAST_MIB:
            raise UsageMistake(
                f"memory_limit_mib is {limit}; with less than {LEAST_MIB} not even Python starts"
            )
        if limit is not None and sys.platform == "win32":
            raise UsageMistake("memory_limit_mib cannot be had on Windows; leave it out")


class WorkerFailed(CakeEdgeError):
    """A model's process crashed, hung, ran out of memory, or said that it cannot go on."""

    def __init__(self, said: str, cause: CakeEdgeError | None = None) -> None:
        """Keeps what the process raised itself, where that was one of our errors."""
        super().__init__(said)
        self.cause = cause


class Worker:
    """A running process; a context manager that leaves none behind."""

    def __init__(self, setting: Setting) -> None:
        """Starts the process; nothing is imported there that could fail until it is asked."""
        self._setting = setting
        self._said: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        # A file, not a pipe: nobody has to empty it while the clock runs.
        self._stderr: IO[bytes] = tempfile.TemporaryFile(prefix="cake-edge-")  # noqa: SIM115
        self._process = subprocess.Popen(
            [sys.executable, "-c", BOOT, CHILD, *sys.path],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            # Ctrl-C is for us; and what the child starts, such as a compiler, ends with it.
            start_new_session=True,
        )
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def ask(self, command: str, doing: str, work_seconds: float = 0.0, **values: Any) -> Any:
        """Gives one command and returns the answer, a dict.

        Args:
            command: one of those of `child.Child.answer`.
            doing: what a failure says that the process was at: "while it was opened".
            work_seconds: how long the command itself is to take.
            values: its arguments, as JSON.

        Raises:
            WorkerFailed: there is no answer, or it is that the model cannot go on; the process is
                ended.
        """
        reply = self._reply({"do": command, **values}, doing, work_seconds)
        if "error" not in reply:
            return reply
        self.close()
        if reply["memory"]:
            limit = self._setting.memory_limit_mib
            raise WorkerFailed(endings.of_memory(doing, reply["error"], limit))
        kind = getattr(errors, reply["kind"], None)
        if kind is None:
            raise WorkerFailed(f"an error {doing}: {reply['error']}")
        raise WorkerFailed(reply["error"], kind(reply["error"]))

    def _reply(self, request: Mapping[str, Any], doing: str, work_seconds: float) -> dict[str, Any]:
        assert self._process.stdin is not None
        with suppress(OSError):  # a process that has died is found out by its silence
            self._process.stdin.write(json.dumps(request).encode("ascii") + b"\n")
            self._process.stdin.flush()
        timeout = self._setting.timeout_seconds
        try:
            line = self._said.get(timeout=timeout + work_seconds)
            code = self._process.wait(GOODBYE_SECONDS) if line is None else 0
        except (queue.Empty, subprocess.TimeoutExpired):
            self.close()
            raise WorkerFailed(endings.of_silence(doing, timeout)) from None
        if line is None:
            words, limit = self._last_words(), self._setting.memory_limit_mib
            self.close()
            raise WorkerFailed(endings.of_exit(code, doing, words, limit))
        reply: dict[str, Any] = json.loads(line)
        return reply

    def close(self) -> None:
        """Ends the process and what it started, whatever they are at; once is enough."""
        if self._stderr.closed:
            return
        with suppress(OSError):
            if hasattr(os, "killpg"):
                os.killpg(self._process.pid, signal.SIGKILL)
            else:
                self._process.kill()
        # A driver that hangs can keep a process beyond being killed; the others still go on.
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(GOODBYE_SECONDS)
        self._thread.join(GOODBYE_SECONDS)
        for line in self._last_words():
            logger.debug("its process said: %s", line)
        for stream in (self._process.stdin, self._process.stdout, self._stderr):
            with suppress(OSError):  # what was still to be written to a process that is gone
                if stream is not None:
                    stream.close()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._said.put(line.decode("ascii", "replace"))
        self._said.put(None)

    def _last_words(self) -> list[str]:
        size = self._stderr.seek(0, os.SEEK_END)
        self._stderr.seek(max(0, size - TAIL))
        return self._stderr.read().decode("utf-8", "replace").splitlines()

    def __enter__(self) -> Worker:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
