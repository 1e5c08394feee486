"""Parses and builds an ONNX file with NVIDIA's compiler, in a process of its own.

`tensorrt_rtx` compiles on a machine without a GPU; `tensorrt` itself needs one. Both are native
code that aborts rather than raises when something is amiss, and an abort must cost one answer, not
the work of the process that asked. So a child compiles, writes what it found to a file, and is
killed when it takes too long.

The network is strongly typed where the version knows it (always, with `tensorrt_rtx`): what the
file does not say in INT8 or FP16 runs in FP32, and nothing is converted behind its back.
"""

from __future__ import annotations

import importlib.util
import json
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from cake_edge.errors import ArtifactError, RuntimeUnavailable, UsageMistake

__all__ = ["INSTALL", "MODULES", "CompileResult", "compile_onnx"]

MODULES = ("tensorrt_rtx", "tensorrt")
"""The compilers, in the order of preference: the first needs no GPU."""
INSTALL = "pip install tensorrt-rtx-cu13"
CHILD = "exporters.tensorrt.compile_process"
TAIL = 5  # lines of a dead child's stderr that are told


@dataclass(frozen=True, slots=True, kw_only=True)
class CompileResult:
    """What NVIDIA's compiler said."""

    ok: bool
    """Whether an engine came out."""
    stage: str
    """Where it ended: "parse" (the file was refused), "build" (an engine was made, or could not
    be), "crash" (NVIDIA's library took the process down) or "timeout"."""
    messages: tuple[str, ...]
    """Why it was refused, with the operator and the name of the node."""
    warnings: tuple[str, ...]
    """What the compiler did not like and did all the same, each once."""
    seconds: float
    """Wall time, with the start of the process."""
    engine_bytes: int
    """Size of the engine; 0 where there is none."""
    module: str
    """"tensorrt_rtx" or "tensorrt"."""
    version: str
    """Of that module; empty where the process died before it could say."""
    compute_capability: str
    """What the engine is for: "8.6", or "present" for the GPU of this machine."""
    coverage: Mapping[str, Any] | None
    """Operators with weights in the compiled engine, by kind: `int8` and `float` count them,
    `int8_share` is a share in [0, 1], `left_float` names those in float. None where the compiler
    does not tell."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        told = asdict(self)
        return {**told, "messages": list(self.messages), "warnings": list(self.warnings)}


def compile_onnx(
    path: Path,
    *,
    compute_capability: str = "8.7",
    timeout_seconds: float = 600,
    batches: tuple[int, int, int] = (1, 1, 8),
    module: str | None = None,
) -> CompileResult:
    """Parses and builds `path`; a file that is refused is an answer, not an error.

    Args:
        compute_capability: the GPU to build for, as NVIDIA numbers them: 8.7 is Jetson Orin.
            Where the module has no such target the nearest below it of the same generation is
            taken (8.6 for 8.7), and the result says so. `tensorrt` builds for the GPU present.
        batches: smallest, usual and largest batch of the optimization profile, where the batch
            of the file is dynamic.
        module: one of `MODULES`; None takes the first that is installed.

    Raises:
        UsageMistake: no such module or compute capability, or a number makes no sense.
        ArtifactError: there is no such file.
        RuntimeUnavailable: the module is not installed, or does not load.
    """
    _check(path, compute_capability, timeout_seconds, batches)
    chosen = _installed(module)
    request = {
        "path": str(path.absolute()),
        "module": chosen,
        "compute_capability": compute_capability,
        "batches": list(batches),
    }
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="cake-edge-") as folder:
        reply = _ask_child(request, Path(folder) / "reply.json", timeout_seconds)
    reply["seconds"] = time.monotonic() - started
    if reply["stage"] == "import":
        raise RuntimeUnavailable(
            f"{chosen} is installed but does not load ({reply['messages'][0]}); "
            f"to install it anew: {INSTALL}"
        )
    if reply["stage"] == "usage":
        raise UsageMistake(reply["messages"][0])
    for name in ("messages", "warnings"):
        reply[name] = tuple(reply[name])
    return CompileResult(module=chosen, **reply)


def _check(
    path: Path, compute_capability: str, timeout_seconds: float, batches: tuple[int, int, int]
) -> None:
    major, dot, minor = compute_capability.partition(".")
    if not (dot and major.isdecimal() and minor.isdecimal() and len(minor) == 1):
        raise UsageMistake(
            f"compute_capability is {compute_capability!r}; it is NVIDIA's number for a GPU, "
            "such as 8.7 for Jetson Orin"
        )
    if timeout_seconds <= 0:
        raise UsageMistake(f"timeout_seconds is {timeout_seconds}; it must be above 0")
    smallest, usual, largest = batches
    if not 1 <= smallest <= usual <= largest:
        raise UsageMistake(
            f"batches is {batches}; smallest, usual and largest must be at least 1, and in order"
        )
    if not path.is_file():
        raise ArtifactError(f"{path} does not exist or is not a file; name an ONNX file")


def _installed(module: str | None) -> str:
    """The module to use, found without loading it: that is for the child to do."""
    if module is not None and module not in MODULES:
        raise UsageMistake(f"no compiler {module!r}; allowed: {', '.join(MODULES)}")
    wanted = MODULES if module is None else (module,)
    for name in wanted:
        if importlib.util.find_spec(name) is not None:
            return name
    raise RuntimeUnavailable(f"{' or '.join(wanted)} is not installed: {INSTALL}")


def _ask_child(request: Mapping[str, Any], answer: Path, timeout_seconds: float) -> dict[str, Any]:
    """The child's reply; or one made up from how it ended."""
    try:
        done = subprocess.run(
            [sys.executable, "-m", CHILD, str(answer)],
            input=json.dumps(request),
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout_seconds,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return _without_reply("timeout", f"no answer within {timeout_seconds:g} s; it was stopped")
    # What the child wrote before it died counts: an engine was made, and tearing down failed.
    if answer.is_file():
        reply: dict[str, Any] = json.loads(answer.read_text(encoding="utf-8"))
        return reply
    last_words = [line for line in done.stderr.splitlines() if line.strip()][-TAIL:]
    return _without_reply(
        "crash", f"the compiler's process {_ending(done.returncode)}", *last_words
    )


def _ending(code: int) -> str:
    if code < 0:
        return f"was ended by {signal.Signals(-code).name}"
    return f"left with exit code {code}"


def _without_reply(stage: str, *messages: str) -> dict[str, Any]:
    return {
        "ok": False,
        "stage": stage,
        "messages": list(messages),
        "warnings": [],
        "engine_bytes": 0,
        "version": "",
        "compute_capability": "",
        "coverage": None,
    }
