"""The child of `probe`: loads NVIDIA's library and starts its runtime where there is a GPU.

Run as `python -m exporters.tensorrt.probe_process ANSWER`, the request as JSON on stdin.
"""

from __future__ import annotations

import importlib
from typing import Any

from exporters.tensorrt.child import answer_with
from exporters.tensorrt.driver import find_gpu
from exporters.tensorrt.listener import listener
from exporters.tensorrt.messages import clean_log

__all__ = ["answer", "main"]


def main() -> None:
    """Answers one request."""
    answer_with(answer)


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """Looks for library and GPU; returns what is there as plain values."""
    gpu = find_gpu()
    try:
        library = importlib.import_module(request["module"])
    except (ImportError, OSError) as error:
        return {"stage": "import", "messages": [str(error)]}
    reason = "no CUDA driver answers on this machine" if gpu is None else _start(library)
    return {
        "stage": "run",
        "version": library.__version__,
        "gpu": None if gpu is None else gpu.to_dict(),
        "reason": reason,
    }


def _start(library: Any) -> str:
    """Starts the runtime; returns why it does not, or nothing."""
    log = listener(library)
    try:
        library.Runtime(log)
    except (RuntimeError, TypeError) as error:  # what pybind11 makes of a null pointer
        return "; ".join(clean_log(log.said("ERROR"))) or str(error)
    return ""


if __name__ == "__main__":
    main()
