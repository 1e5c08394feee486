"""The near end of the conversation with `guardian`: one ssh process, one command, no traces.

Everything goes over one connection: what is to run, the files, the answer. There is no second
channel to leave behind, and closing this one cleans up over there.
"""

from __future__ import annotations

import json
import queue
import subprocess
import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from cake_edge.errors import DeviceUnavailable, OutOfSpace
from exporters.remote.guardian import MARK
from exporters.remote.ssh import Host, explain_failure, ssh_command

__all__ = ["Answer", "Session"]

BOOT = "import sys,json;sys.path=[p for p in sys.path if p];exec(json.loads(sys.stdin.readline()))"
"""Takes the guardian's text from stdin, so that no shell over there has to carry it."""
GUARDIAN = Path(__file__).with_name("guardian.py")
BLOCK = 1 << 20
KEPT_LINES = 200
START_SECONDS = 30.0
"""What a slow board may take to start Python, beyond connecting."""
GOODBYE_SECONDS = 15.0
"""What it may take to end a command and remove a folder."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """How a command ended."""

    exit: int
    """Its exit code; negative for a signal."""
    stdout: str
    """What it wrote."""
    stderr: tuple[str, ...]
    """The last lines of its log."""
    stopped: str | None
    """"time" where it was stopped for taking too long."""


class Session:
    """An open connection; a context manager that leaves nothing behind on the other side."""

    def __init__(self, host: Host, log: Callable[[str], None] = lambda line: None) -> None:
        """Will connect to `host`; `log` is given each line of stderr as it comes."""
        self._host = host
        self._log = log
        self._said: queue.Queue[dict[str, Any] | None] = queue.Queue()
        self._errors: deque[str] = deque(maxlen=KEPT_LINES)
        self._process: subprocess.Popen[bytes]
        self._threads: list[threading.Thread] = []
        self.found: dict[str, Any] = {}
        """What the other side told of itself: python, folder, free_bytes, packages, machine."""

    def __enter__(self) -> Session:
        """Connects.

        Raises:
            DeviceUnavailable: the host cannot be reached, is not known, or lets nobody in.
            RuntimeUnavailable: it has no Python that could answer.
        """
        self._process = subprocess.Popen(
            ssh_command(self._host, [self._host.python, "-B", "-c", BOOT]),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            # Ctrl-C is for us, who then take leave; ssh is to live until we have.
            start_new_session=True,
        )
        for target, stream in (
            (self._listen, self._process.stdout),
            (self._keep, self._process.stderr),
        ):
            thread = threading.Thread(target=target, args=(stream,), daemon=True)
            thread.start()
            self._threads.append(thread)
        try:
            self._send(json.dumps(GUARDIAN.read_text(encoding="utf-8")).encode("ascii") + b"\n")
            self.found = self._hear(self._host.connect_seconds + START_SECONDS)
        except BaseException:
            self._leave()
            raise
        return self

    def run(
        self,
        words: Sequence[str],
        files: Sequence[tuple[str, Path | bytes]],
        *,
        seconds: float,
        sent: Callable[[int, int], None] = lambda done, total: None,
    ) -> Answer:
        """Puts files beside each other in the folder over there, and runs Python on `words` in it.

        Args:
            words: what follows `python3`.
            files: plain name and content of each.
            seconds: how long the command may take.
            sent: told how many bytes of all have gone.

        Raises:
            OutOfSpace: the files do not fit.
            DeviceUnavailable: the connection ended.
        """
        sizes = [len(what) if isinstance(what, bytes) else what.stat().st_size for _, what in files]
        self._refuse_large(sum(sizes))
        request = {
            "files": [
                {"name": name, "bytes": size} for (name, _), size in zip(files, sizes, strict=True)
            ],
            "words": list(words),
            "seconds": seconds,
        }
        self._send(json.dumps(request).encode("ascii") + b"\n")
        done = 0
        for (_, what), size in zip(files, sizes, strict=True):
            done = self._send_file(what, size, done, lambda now: sent(now, sum(sizes)))
        reply = self._hear(seconds + GOODBYE_SECONDS + START_SECONDS)
        if reply.get("problem") == "disk full":
            raise OutOfSpace(self._no_room(sum(sizes)))
        if "problem" in reply:
            raise DeviceUnavailable(f"{self._host.target} could not start: {reply['problem']}")
        self._leave()
        return Answer(
            exit=reply["exit"],
            stdout=reply["stdout"],
            stderr=tuple(self._errors),
            stopped=reply["stopped"],
        )

    def _refuse_large(self, total: int) -> None:
        if total > self.found["free_bytes"]:
            raise OutOfSpace(self._no_room(total))

    def _no_room(self, total: int) -> str:
        free = self.found["free_bytes"]
        return (
            f"{total / 2**20:.1f} MiB do not fit on {self._host.target}, where "
            f"{self.found['folder']} has {free / 2**20:.1f} MiB free: free some there, or set "
            "TMPDIR there to a folder on a larger disk"
        )

    def _send_file(
        self, what: Path | bytes, size: int, done: int, sent: Callable[[int], None]
    ) -> int:
        """Sends exactly `size` bytes, whatever happens to the file meanwhile."""
        if isinstance(what, bytes):
            self._send(what)
            sent(done + size)
            return done + size
        with what.open("rb") as stream:
            left = size
            while left:
                block = stream.read(min(BLOCK, left))
                if not block:
                    raise DeviceUnavailable(f"{what} became shorter while it was sent; try again")
                if not self._send(block):
                    break
                left -= len(block)
                sent(done + size - left)
        return done + size

    def _send(self, data: bytes) -> bool:
        """Whether it went; why it did not, the other side says or the end of ssh tells."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(data)
            self._process.stdin.flush()
        except BrokenPipeError:
            return False
        return True

    def _hear(self, seconds: float) -> dict[str, Any]:
        try:
            said = self._said.get(timeout=seconds)
        except queue.Empty:
            raise DeviceUnavailable(
                f"{self._host.target} has not answered for {seconds:.0f} s; "
                "is it busy, or the network down?"
            ) from None
        if said is not None:
            return said
        code = self._wait()
        for thread in self._threads[1:]:
            thread.join(timeout=1)
        if self.found:
            last = "; ".join(list(self._errors)[-3:]) or "no reason was given"
            raise DeviceUnavailable(
                f"the connection to {self._host.target} was lost ({last}); what ran there is "
                "ended and its files are removed. Try again"
            )
        raise explain_failure(self._host, code, tuple(self._errors))

    def _listen(self, stream: IO[bytes]) -> None:
        for line in stream:
            text = line.decode("utf-8", errors="replace").strip()
            if text.startswith(MARK):
                self._said.put(json.loads(text.removeprefix(MARK)))
        self._said.put(None)

    def _keep(self, stream: IO[bytes]) -> None:
        for line in stream:
            text = line.decode("utf-8", errors="replace").rstrip()
            self._errors.append(text)
            self._log(text)

    def _leave(self) -> None:
        """Closes our end, which is the sign to clean up, and waits for that to be done."""
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):
            self._process.stdin.close()
        self._wait()
        for thread in self._threads:
            thread.join(timeout=1)
        for thread, stream in zip(
            self._threads, (self._process.stdout, self._process.stderr), strict=True
        ):
            # A reader that still waits would make closing wait as well.
            if stream is not None and not thread.is_alive():
                stream.close()

    def _wait(self) -> int | None:
        """The exit code of ssh, or None where it had to be stopped."""
        try:
            return self._process.wait(timeout=GOODBYE_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            return None

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._leave()
