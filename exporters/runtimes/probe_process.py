"""The child of `probe`: opens a graph of one operator, and listens to what is printed meanwhile.

Run as `python -m exporters.runtimes.probe_process ANSWER`, the request as JSON on stdin.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any

from cake_edge.errors import CakeEdgeError
from exporters.runtimes.ort import open_inference_session, session_options
from exporters.runtimes.providers import parse_provider
from exporters.tensorrt.child import answer_with

__all__ = ["answer", "main"]

ONE_RELU = bytes.fromhex(
    "080812003a330a0c0a0178120179220452656c751201675a0f0a0178120a0a08080112040a020801620f0a0179120a"
    "0a08080112040a02080142040a00100d"
)
"""An ONNX file of opset 13: y = Relu(x), one float each. A device has no onnx to make it with."""
COLOUR = re.compile(r"\x1b\[[\d;]*m")
ERROR = re.compile(r"^\S+ \S+ \[E:onnxruntime:[^\]]*\] (?P<text>.*)$")
PLACE = re.compile(r"^(?:\S+\.(?:cc|h):\d+ \w+\] )?(?:/\S+\.(?:cc|h):\d+ .*?\) )?")
"""Where in its source ONNX Runtime says it; such as "bridge.cc:2310 Create]"."""


def main() -> None:
    """Answers one request."""
    answer_with(answer)


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """Opens the graph; returns whether its provider came up, and else why not."""
    choice = parse_provider(request["provider"])
    with _stderr() as printed:
        try:
            session = open_inference_session(
                ONE_RELU, session_options(), what="a graph of one operator", choice=choice
            )
        except CakeEdgeError as error:
            return {"stage": "run", "starts": False, "reason": str(error)}
        starts = choice.provider.ort_name in session.get_providers()
        printed.seek(0)
        reason = "" if starts else _first_error(printed.read())
    return {"stage": "run", "starts": starts, "reason": reason}


@contextmanager
def _stderr() -> Iterator[IO[str]]:
    """What native code writes to stderr, which no object of Python's sees."""
    kept = os.dup(2)
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as printed:
        sys.stderr.flush()
        os.dup2(printed.fileno(), 2)
        try:
            yield printed
        finally:
            os.dup2(kept, 2)
            os.close(kept)


def _first_error(printed: str) -> str:
    for line in COLOUR.sub("", printed).splitlines():
        found = ERROR.match(line)
        if found:
            return PLACE.sub("", found["text"]).strip()[:300]
    return "it left the provider out, and does not say why"


if __name__ == "__main__":
    main()
