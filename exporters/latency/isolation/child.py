"""The process that holds one model: opens it, times it on command, and says what it found.

Started by `worker`. Commands come as lines of JSON on stdin, and each gets one line of JSON as its
answer, on what was stdout when the process started: what libraries print goes to stderr. When stdin
ends, whoever asked is gone, and so is this process and all that it started.
"""

from __future__ import annotations

import importlib
import json
import logging
import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from cake_edge.errors import ArtifactError, CakeEdgeError
from exporters.latency.inputs import input_size, made_images
from exporters.latency.isolation.endings import of_error, out_of_memory
from exporters.latency.lane import Images, Inference, Lane, no_garbage_collection
from exporters.latency.resident import forget_peak, peak_mib, resident_mib
from exporters.runtimes import OrtTuning, Session, open_session, parse_provider

__all__ = ["Child", "main"]

PACKAGES = {"ort": "onnxruntime"}
"""What a runtime imports, where that does not depend on what is installed."""

Reply = dict[str, Any]


def main() -> None:
    """Answers commands until there are no more."""
    answers, commands = _take_pipes()
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    with ExitStack() as stack:
        child = Child(stack)
        while True:
            request = commands.get()
            answers.write(json.dumps(child.answer(request)) + "\n")
            answers.flush()


class Child:
    """One model, from the import of its runtime to its last call."""

    def __init__(self, stack: ExitStack) -> None:
        """Keeps what must be given back at the end on `stack`."""
        self._stack = stack
        self._path = Path()
        self._session: Session | None = None
        self._lane: Lane | None = None
        self._device_input = False
        self._input_kind = "random"
        self._peak_is_ours = False

    def answer(self, request: Reply) -> Reply:
        """Carries out one command; an error is an answer too, as `error`, `kind` and `memory`."""
        commands: dict[str, Callable[..., Reply]] = {
            "start": self._start,
            "open": self._open,
            "size": self._size,
            "first": self._first,
            "warm": self._warm,
            "turn": self._turn,
            "work": self._work,
            "memory": self._memory,
        }
        name = request.pop("do")
        try:
            return commands[name](**request)
        except CakeEdgeError as error:
            return _failed(error, str(error))
        # The row is lost and the process with it, so whatever a runtime raises is worth a sentence.
        except Exception as error:  # noqa: BLE001
            return _failed(error, of_error(error))

    def _start(self, runtime: str, memory_limit_mib: int | None) -> Reply:
        """Imports the runtime, with no more memory than is granted."""
        if memory_limit_mib is not None:
            import resource

            granted = memory_limit_mib << 20
            resource.setrlimit(resource.RLIMIT_AS, (granted, granted))
        if runtime == "tensorrt":
            from exporters.tensorrt.compiler import installed_module
            from exporters.tensorrt.probe import RUNS_FIRST

            with suppress(CakeEdgeError, ImportError):  # opening says it in words
                importlib.import_module(installed_module(None, preferred=RUNS_FIRST))
        elif runtime in PACKAGES:
            with suppress(ImportError):
                importlib.import_module(PACKAGES[runtime])
        return {"resident_mib": resident_mib()}

    def _open(
        self, path: str, device_input: bool = False, input_kind: str = "random", **how: Any
    ) -> Reply:
        """Opens the model; what else is given goes to `open_session`, made of JSON."""
        self._path, self._device_input, self._input_kind = Path(path), device_input, input_kind
        settings = _settings(**how)
        start = time.perf_counter()
        session = open_session(self._path, **settings)
        seconds = time.perf_counter() - start
        self._session = self._stack.enter_context(session)
        card, resident = session.card, resident_mib()
        self._peak_is_ours = forget_peak()
        return {
            "seconds": seconds,
            "card": None if card is None else card.to_json(),
            "runtime": session.describe(),
            "resident_mib": resident,
        }

    def _size(self) -> Reply:
        """(C, H, W) of an image."""
        return {"input_size": list(input_size(self._path, self._opened()))}

    def _first(self, **shown: Any) -> Reply:
        """Seconds of the very first call, its images made before."""
        session, images = self._ready(**shown)
        start = time.perf_counter()
        session.infer(images)
        return {"seconds": time.perf_counter() - start}

    def _warm(self, count: int, seconds: float, **shown: Any) -> Reply:
        self._lane = Lane(*self._ready(**shown))
        self._stack.enter_context(no_garbage_collection())
        self._lane.warm_up(count=count, seconds=seconds)
        return {"warmup_ns": self._lane.warmup_ns}

    def _turn(self, burst: int, settle_seconds: float) -> Reply:
        assert self._lane is not None
        before = self._lane.wall_ns
        self._lane.turn(burst, settle_seconds)
        return {"ns": self._lane.turns_ns.pop(), "wall_ns": self._lane.wall_ns - before}

    def _work(self, seconds: float, **shown: Any) -> Reply:
        """Calls for that long; when the first and last ended on the monotonic clock, how many."""
        session, images = self._ready(**shown)
        session.infer(images)
        start = last = time.monotonic()
        calls = 0
        while last - start < seconds:
            session.infer(images)
            last = time.monotonic()
            calls += 1
        return {"start": start, "end": last, "calls": calls}

    def _memory(self) -> Reply:
        """The most memory since the model was opened; None where that is not known."""
        return {"peak_mib": peak_mib() if self._peak_is_ours else None}

    def _opened(self) -> Session:
        assert self._session is not None
        return self._session

    def _ready(
        self, batch: int, seed: int, images_file: str | None = None
    ) -> tuple[Inference, Images]:
        """What is timed, and with which images: made here, or float32 values in a file."""
        session = self._opened()
        size = input_size(self._path, session)
        if images_file is not None:
            values = np.frombuffer(Path(images_file).read_bytes(), np.float32)
            images = values.reshape(batch, *size)
        else:
            spec = None if session.card is None else session.card.spec
            images = made_images(self._input_kind, size, batch, seed=seed, spec=spec)
        if not self._device_input:
            return session, images
        put = getattr(session, "on_device", None)
        if put is None:
            raise ArtifactError("this runtime keeps no input in a device's memory")
        held: Inference = put(images)
        return held, images


def _settings(
    provider: str | None = None,
    spinning: bool = False,
    affinity: str | None = None,
    **rest: Any,
) -> dict[str, Any]:
    """The arguments of `open_session`, out of plain values."""
    if provider is None:
        return rest
    choice = parse_provider(provider)
    return {
        **rest,
        "provider": choice.name,
        "provider_options": choice.options,
        "tuning": OrtTuning(spinning=spinning, affinity=affinity),
    }


def _failed(error: Exception, said: str) -> Reply:
    return {"error": said, "kind": type(error).__name__, "memory": out_of_memory(error)}


def _take_pipes() -> tuple[TextIO, queue.SimpleQueue[Reply]]:
    """Takes stdin and stdout away from the libraries; a thread of its own waits for commands."""
    answers = os.fdopen(os.dup(1), "w", encoding="ascii")
    asked = os.fdopen(os.dup(0), encoding="ascii")
    os.dup2(2, 1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    commands: queue.SimpleQueue[Reply] = queue.SimpleQueue()

    def listen() -> None:
        # Blocked in a read, it costs a measurement nothing; and it hears of the parent's death
        # while a call that never ends keeps the other thread.
        for line in asked:
            commands.put(json.loads(line))
        _end_everything()

    threading.Thread(target=listen, daemon=True).start()
    return answers, commands


def _end_everything() -> None:
    """Ends this process and those that it started, such as a compiler."""
    if hasattr(os, "killpg") and os.getpgrp() == os.getpid():
        os.killpg(os.getpid(), signal.SIGKILL)
    os._exit(1)


if __name__ == "__main__":
    main()
