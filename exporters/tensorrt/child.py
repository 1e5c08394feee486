"""Asks a child process that loads NVIDIA's library; however the child ends, there is an answer.

The library is native code that aborts rather than raises when something is amiss, and an abort must
cost one answer, not the work of the process that asked. So a child does the work, writes its reply
to a file, and is killed when it takes too long.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

__all__ = ["answer_with", "ask_child"]

TAIL = 5  # lines of a dead child's stderr that are told


def ask_child(module: str, request: Mapping[str, Any], *, timeout_seconds: float) -> dict[str, Any]:
    """Runs `python -m module` with the request; returns its reply.

    Returns:
        What the child wrote; or, where it wrote nothing, `stage` ("crash" or "timeout") and
        `messages` that say how it ended.
    """
    with tempfile.TemporaryDirectory(prefix="cake-edge-") as folder:
        answer = Path(folder) / "reply.json"
        try:
            done = subprocess.run(
                [sys.executable, "-m", module, str(answer)],
                input=json.dumps(request),
                capture_output=True,
                text=True,
                errors="replace",
                timeout=timeout_seconds,
                check=False,
            )
        except subprocess.TimeoutExpired:
            told = f"no answer within {timeout_seconds:g} s; it was stopped"
            return {"stage": "timeout", "messages": [told]}
        # What the child wrote before it died counts: the work was done, and tearing down failed.
        if answer.is_file():
            reply: dict[str, Any] = json.loads(answer.read_text(encoding="utf-8"))
            return reply
    last_words = [line for line in done.stderr.splitlines() if line.strip()][-TAIL:]
    how = f"its process {_ending(done.returncode)}"
    return {"stage": "crash", "messages": [how, *last_words]}


def answer_with(work: Callable[[dict[str, Any]], Mapping[str, Any]]) -> None:
    """The child's side: `work` takes the request and gives the reply.

    The reply goes to the file named on the command line, under a temporary name first, so that it
    is whole or not there: stdout and stderr belong to the library.
    """
    answer = Path(sys.argv[1])
    reply = work(json.load(sys.stdin))
    # Not `atomic_path`: the folder is ours alone, and gone a moment later.
    temporary = answer.with_suffix(".partial")
    temporary.write_text(json.dumps(reply), encoding="utf-8")
    temporary.replace(answer)


def _ending(code: int) -> str:
    if code < 0:
        return f"was ended by {signal.Signals(-code).name}"
    return f"left with exit code {code}"
