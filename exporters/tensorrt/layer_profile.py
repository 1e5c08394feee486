"""How long each layer of an engine takes, and in which type: what an INT8 engine spends time on.

Runs in a child process, apart from any latency: asking for the time of each layer keeps layers from
overlapping, so their sum is more than the network takes alone.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cake_edge.errors import ArtifactError, UsageMistake
from exporters.tensorrt.child import ask_child
from exporters.tensorrt.compiler import installed_module, refuse_unusable
from exporters.tensorrt.manifest import read_manifest
from exporters.tensorrt.probe import RUNS_FIRST

__all__ = ["profile_layers"]

CHILD = "exporters.tensorrt.profile_process"


def profile_layers(engine: Path, *, runs: int = 50, timeout_seconds: float = 600) -> dict[str, Any]:
    """Runs an engine on random images of its usual shape, and times its layers.

    Args:
        runs: inferences, after five that are not counted.

    Returns:
        `runs`; `shape` of the images; `layers`: by the order of the network `name`, `kind`,
        `precision`, `reformats`, `nodes` (of the ONNX file), `ms` (mean) and `share` of the sum;
        `summary` as `summarise_layers`, with `reformat_share` of the sum.

    Raises:
        UsageMistake: runs is below 1.
        ArtifactError: there is no such engine, it does not open, or running it broke down.
        RuntimeUnavailable: TensorRT is not installed, or does not load.
    """
    if runs < 1:
        raise UsageMistake(f"runs is {runs}; it must be at least 1")
    if not engine.is_file():
        raise ArtifactError(f"{engine} does not exist or is not a file; name an engine")
    manifest = read_manifest(engine)
    module = installed_module(None if manifest is None else manifest.module, preferred=RUNS_FIRST)
    request = {"engine": str(engine.absolute()), "module": module, "runs": runs}
    reply = ask_child(CHILD, request, timeout_seconds=timeout_seconds)
    refuse_unusable(reply, module)
    if reply["stage"] != "run":
        raise ArtifactError(f"{engine} could not be profiled: {'; '.join(reply['messages'])}")
    found: dict[str, Any] = reply["profile"]
    return found
