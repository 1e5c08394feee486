"""The child of `compiler`: loads NVIDIA's library, compiles one file, writes down what it said.

Run as `python -m exporters.tensorrt.compile_process ANSWER`, the request as JSON on stdin. The
answer goes to a file under a temporary name and is renamed, so that it is whole or not there:
stdout and stderr belong to the library.

What differs from one version of TensorRT to the next is asked for with `hasattr`: flags have other
numbers in each, and some are gone in the last.
"""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from typing import Any

from exporters.tensorrt.messages import clean_errors, clean_log
from exporters.tensorrt.precision import coverage_from_log

__all__ = ["main"]

Reply = dict[str, Any]


def main() -> None:
    """Answers one request."""
    answer = Path(sys.argv[1])
    reply = _answer(json.load(sys.stdin))
    # Not `atomic_path`: the folder is ours alone, and gone a moment later.
    temporary = answer.with_suffix(".partial")
    temporary.write_text(json.dumps(reply), encoding="utf-8")
    temporary.replace(answer)


def _answer(request: dict[str, Any]) -> Reply:
    try:
        library = importlib.import_module(request["module"])
    except (ImportError, OSError) as error:
        return {"stage": "import", "messages": [str(error)]}
    try:
        target = _target(library, request["compute_capability"])
    except ValueError as error:
        return {"stage": "usage", "messages": [str(error)]}
    return _compile(library, request, target)


def _target(library: Any, wanted: str) -> Any:
    """The member of the library's ComputeCapability to build for; None is the GPU present.

    Raises:
        ValueError: the library builds for nothing of that generation.
    """
    if not hasattr(library, "ComputeCapability"):
        return None
    members = library.ComputeCapability.__members__
    known = {int(name[2:]): each for name, each in members.items() if name[2:].isdecimal()}
    number = int(wanted.replace(".", ""))
    fitting = [each for each in known if each <= number and each // 10 == number // 10]
    if not fitting:
        allowed = ", ".join(map(_dotted, sorted(known)))
        raise ValueError(
            f"{library.__name__} {library.__version__} builds nothing for compute capability "
            f"{wanted}; it builds for {allowed}"
        )
    return known[max(fitting)]


def _dotted(number: int) -> str:
    return f"{number // 10}.{number % 10}"


def _compile(library: Any, request: dict[str, Any], target: Any) -> Reply:
    log = _listener(library)
    builder = library.Builder(log)
    network = builder.create_network(_network_flags(library))
    parser = library.OnnxParser(network, log)
    parsed = parser.parse_from_file(request["path"])
    reply: Reply = {
        "ok": False,
        "stage": "parse",
        "messages": clean_errors([parser.get_error(each) for each in range(parser.num_errors)]),
        "warnings": [],
        "engine_bytes": 0,
        "version": library.__version__,
        "compute_capability": "present" if target is None else _dotted(int(target)),
        "coverage": None,
    }
    if parsed:
        reply["stage"] = "build"
        reply["messages"] = _unbounded(network)
    if parsed and not reply["messages"]:
        config = _config(library, builder, network, request["batches"], target)
        engine = builder.build_serialized_network(network, config)
        reply["ok"] = engine is not None
        reply["engine_bytes"] = 0 if engine is None else engine.nbytes
        reply["messages"] = [] if reply["ok"] else clean_log(log.said("ERROR"))
        if reply["ok"]:
            reply["coverage"] = coverage_from_log(log.said("VERBOSE"), _weighted_layers(network))
    reply["warnings"] = clean_log(log.said("WARNING"))
    return reply


def _unbounded(network: Any) -> list[str]:
    """Says which inputs no optimization profile can be written for; the batch alone has sizes."""
    return [
        f"input {port.name!r} has shape {list(port.shape)}: a profile needs sizes for every "
        "dynamic axis, and they are known for the batch, axis 0, alone"
        for port in _inputs(network)
        if -1 in list(port.shape)[1:]
    ]


def _inputs(network: Any) -> list[Any]:
    return [network.get_input(index) for index in range(network.num_inputs)]


def _listener(library: Any) -> Any:
    """A logger that keeps everything; built here, as its base class is the library's."""

    class Listener(library.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            # Not super(): the binding wants its own __init__ called by name.
            library.ILogger.__init__(self)
            self.lines: list[tuple[str, str]] = []

        def log(self, severity: Any, text: str) -> None:
            self.lines.append((severity.name, text))

        def said(self, severity: str) -> list[str]:
            levels = (severity, "INTERNAL_ERROR") if severity == "ERROR" else (severity,)
            return [text for name, text in self.lines if name in levels]

    return Listener()


def _network_flags(library: Any) -> int:
    flags = 0
    # The first is needed up to 8.6, a no-op in 10 and gone in 11; the second came with 9.
    for name in ("EXPLICIT_BATCH", "STRONGLY_TYPED"):
        if hasattr(library.NetworkDefinitionCreationFlag, name):
            flags |= 1 << int(getattr(library.NetworkDefinitionCreationFlag, name))
    return flags


def _config(library: Any, builder: Any, network: Any, batches: list[int], target: Any) -> Any:
    config = builder.create_builder_config()
    config.profiling_verbosity = library.ProfilingVerbosity.DETAILED
    if target is not None:
        config.num_compute_capabilities = 1
        config.set_compute_capability(target, 0)
    if not hasattr(library.NetworkDefinitionCreationFlag, "STRONGLY_TYPED"):
        config.set_flag(library.BuilderFlag.INT8)  # else 8.6 refuses Q and DQ
    dynamic = [port for port in _inputs(network) if -1 in list(port.shape)]
    if dynamic:
        profile = builder.create_optimization_profile()
        for port in dynamic:
            profile.set_shape(port.name, *([batch, *list(port.shape)[1:]] for batch in batches))
        config.add_optimization_profile(profile)
    return config


def _weighted_layers(network: Any) -> dict[str, str]:
    """Layers that multiply, by name: the kind of operator they came from."""
    kinds = {"CONVOLUTION": "Conv", "DECONVOLUTION": "Conv", "MATRIX_MULTIPLY": "MatMul"}
    layers = map(network.get_layer, range(network.num_layers))
    return {layer.name: kinds[layer.type.name] for layer in layers if layer.type.name in kinds}


if __name__ == "__main__":
    main()
