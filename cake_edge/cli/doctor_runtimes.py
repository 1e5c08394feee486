"""What `cake-edge doctor` says of the runtimes: where a model can be run here, and why not."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from typing import Any

from cake_edge.errors import RuntimeUnavailable

__all__ = ["ort_rows", "tensorrt_row"]


def ort_rows() -> list[dict[str, Any]]:
    """ONNX Runtime's providers: one row each, tried where this build has them.

    Returns:
        `runtime`, `provider`, `present` (in this build), `works`, `detail` and `install`.

    Raises:
        RuntimeUnavailable: ONNX Runtime is not installed.
    """
    from exporters.runtimes.probe import probe_provider
    from exporters.runtimes.providers import PROVIDERS, ProviderChoice, present_providers

    present = present_providers()
    rows = []
    for name, known in PROVIDERS.items():
        found = probe_provider(ProviderChoice(name=name)) if name in present else None
        if found is None:
            detail = f"not in this build; to get it: {known.install}"
        else:
            detail = found.reason or f"{known.ort_name} starts"
        rows.append(
            {
                "runtime": "ort",
                "provider": name,
                "present": found is not None,
                "works": found is not None and found.starts,
                "detail": detail,
                "install": known.install,
            }
        )
    return rows


def tensorrt_row(modules: Sequence[str]) -> dict[str, Any]:
    """TensorRT, by the first of its modules that is installed: whether an engine can run here."""
    from exporters.tensorrt import probe_tensorrt
    from exporters.tensorrt.compiler import INSTALLS

    row = {"runtime": "tensorrt", "provider": None, "present": False, "works": False}
    installed = [name for name in modules if importlib.util.find_spec(name) is not None]
    if not installed:
        return {**row, "detail": "not installed", "install": INSTALLS[modules[0]]}
    row = {**row, "present": True, "install": INSTALLS[installed[0]]}
    try:
        found = probe_tensorrt(installed[0])
    except RuntimeUnavailable as error:
        return {**row, "detail": str(error)}
    if found.runs and found.gpu is not None:
        detail = f"{found.module} {found.version} runs engines on {found.gpu['name']}"
    elif found.loads:
        detail = f"{found.module} {found.version} builds engines and runs none: {found.reason}"
    else:
        detail = f"{found.module} does not come up: {found.reason}"
    return {**row, "works": found.runs, "detail": detail}
