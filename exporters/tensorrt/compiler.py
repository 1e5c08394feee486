"""Whether NVIDIA's compiler takes an ONNX file: it is parsed and built, in a process of its own.

`tensorrt_rtx` compiles on a machine without a GPU; `tensorrt` itself needs one. The network is
strongly typed where the version knows it (always, with `tensorrt_rtx`): what the file does not say
in INT8 or FP16 runs in FP32, and nothing is converted behind its back.
"""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from cake_edge.errors import ArtifactError, RuntimeUnavailable, UsageMistake
from exporters.tensorrt.child import ask_child
from exporters.tensorrt.config import EngineConfig

__all__ = [
    "CHILD",
    "INSTALLS",
    "MODULES",
    "CompileResult",
    "compile_onnx",
    "installed_module",
    "refuse_unusable",
]

MODULES = ("tensorrt_rtx", "tensorrt")
"""The compilers, in the order of preference: the first needs no GPU."""
INSTALLS = {
    "tensorrt_rtx": "pip install tensorrt-rtx-cu13",
    "tensorrt": "pip install 'cake-edge[tensorrt]'",
}
CHILD = "exporters.tensorrt.compile_process"
UNTOLD: dict[str, Any] = {
    "ok": False,
    "warnings": [],
    "engine_bytes": 0,
    "version": "",
    "compute_capability": "",
    "coverage": None,
}
"""What a child that died did not say."""


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
    config = EngineConfig(batches=batches, compute_capability=compute_capability)
    if timeout_seconds <= 0:
        raise UsageMistake(f"timeout_seconds is {timeout_seconds}; it must be above 0")
    if not path.is_file():
        raise ArtifactError(f"{path} does not exist or is not a file; name an ONNX file")
    chosen = installed_module(module)
    if chosen != "tensorrt_rtx":
        config = replace(config, compute_capability=None)
    request = {"path": str(path.absolute()), "module": chosen, "config": config.to_dict()}
    started = time.monotonic()
    reply = ask_child(CHILD, request, timeout_seconds=timeout_seconds)
    seconds = time.monotonic() - started
    refuse_unusable(reply, chosen)
    told = {**UNTOLD, **reply}
    return CompileResult(
        module=chosen,
        seconds=seconds,
        messages=tuple(told.pop("messages")),
        warnings=tuple(told.pop("warnings")),
        **{name: told[name] for name in ("stage", *UNTOLD) if name in told},
    )


def refuse_unusable(reply: Mapping[str, Any], module: str) -> None:
    """Raises where a child found that there is nothing to work with.

    Raises:
        UsageMistake: the module does not know what it was asked for.
        RuntimeUnavailable: it does not load.
    """
    if reply["stage"] == "import":
        raise RuntimeUnavailable(
            f"{module} is installed but does not load ({reply['messages'][0]}); "
            f"to install it anew: {INSTALLS[module]}"
        )
    if reply["stage"] == "usage":
        raise UsageMistake(reply["messages"][0])


def installed_module(module: str | None, *, preferred: Sequence[str] = MODULES) -> str:
    """Returns the module to use, found without loading it: that is for the child to do.

    Args:
        module: one of `MODULES`; None takes the first of `preferred` that is installed.

    Raises:
        UsageMistake: no such module.
        RuntimeUnavailable: it is not installed.
    """
    if module is not None and module not in MODULES:
        raise UsageMistake(f"no compiler {module!r}; allowed: {', '.join(MODULES)}")
    wanted = preferred if module is None else (module,)
    for name in wanted:
        if importlib.util.find_spec(name) is not None:
            return name
    raise RuntimeUnavailable(f"{' or '.join(wanted)} is not installed: {INSTALLS[wanted[0]]}")
