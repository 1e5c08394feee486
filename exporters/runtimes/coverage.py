"""How much of a model really runs in INT8: counted in a profiled inference, not read off the file.

A quantized file only asks for integer arithmetic. Whether ONNX Runtime fuses QuantizeLinear and
DequantizeLinear into an integer operator depends on its rules for the processor at hand; what it
does not fuse runs in float, between two conversions.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Collection
from pathlib import Path
from typing import Any

from cake_edge.errors import ArtifactError, RuntimeUnavailable
from exporters.optional import import_package
from exporters.runtimes.ort import open_inference_session, session_options
from exporters.runtimes.profile import RanNode, profiled, ran_nodes
from exporters.runtimes.reasons import Written

__all__ = ["coverage", "written_coverage"]

# ONNX Runtime's operators with weights, by the kind they stand for.
INT8_OPERATORS = {
    "QLinearConv": "Conv",
    "ConvInteger": "Conv",
    "QGemm": "Gemm",
    "QLinearMatMul": "MatMul",
    "MatMulInteger": "MatMul",
    "MatMulIntegerToFloat": "MatMul",
    "DynamicQuantizeMatMul": "MatMul",
    "MatMulNBits": "MatMul",
}
FLOAT_OPERATORS = {
    "Conv": "Conv",
    "FusedConv": "Conv",
    "NhwcFusedConv": "Conv",
    "ConvTranspose": "Conv",
    "Gemm": "Gemm",
    "FusedGemm": "Gemm",
    "MatMul": "MatMul",
    "FusedMatMul": "MatMul",
}


def coverage(path: Path, *, left_float: Collection[str] = ()) -> dict[str, Any]:
    """Runs `path` once on a blank image and counts the operators that ran.

    Args:
        left_float: nodes that the quantizer kept in float to hold its budget, so that the reasons
            can say so.

    Returns:
        `int8` and `float`: number of operators with weights by kind (Conv, Gemm, MatMul);
        `int8_share`: share of them in INT8, in [0, 1]; `left_float`: the names of those that are
        not; `reasons`: by name why, empty where onnx is not installed; `operators`: every
        operator that ran, by name, with its number; `profiled`: True.

    Raises:
        ArtifactError: the file is missing or ONNX Runtime cannot run it.
    """
    if not path.is_file():
        raise ArtifactError(f"{path} does not exist or is not a file; name an ONNX file")
    nodes = _profiled_nodes(path)
    integer, floating = Counter[str](), Counter[str]()
    names = []
    for node in nodes:
        if node.operator in INT8_OPERATORS:
            integer[INT8_OPERATORS[node.operator]] += 1
        elif node.operator in FLOAT_OPERATORS:
            floating[FLOAT_OPERATORS[node.operator]] += 1
            names.append(node.name)
    written = _read(path) if names else None
    if written is not None:
        names = [written.name(name) for name in names]
    return {
        **_summary(integer, floating, names, [node.operator for node in nodes]),
        "reasons": written.reasons(names, left_float) if written is not None else {},
        "profiled": True,
    }


def written_coverage(path: Path, *, left_float: Collection[str] = ()) -> dict[str, Any]:
    """Reads off `path` what it asks for, for a target that does not run on this machine.

    Args:
        left_float: as for `coverage`.

    Returns:
        As `coverage`, with `profiled` False: a node counts as INT8 where all its inputs but the
        bias come from DequantizeLinear. What the target makes of it only the target can say.

    Raises:
        ArtifactError: the file cannot be read.
        RuntimeUnavailable: onnx is not installed.
    """
    model = _load(path)
    graph = model.graph
    producers = {name: node.op_type for node in graph.node for name in node.output}
    integer, floating, names = Counter[str](), Counter[str](), list[str]()
    for node in graph.node:
        kind = FLOAT_OPERATORS.get(node.op_type)
        if kind is None:
            continue
        if all(producers.get(name) == "DequantizeLinear" for name in node.input[:2]):
            integer[kind] += 1
        else:
            floating[kind] += 1
            names.append(node.name)
    return {
        **_summary(integer, floating, names, [node.op_type for node in graph.node]),
        "reasons": Written(model, FLOAT_OPERATORS).reasons(names, left_float),
        "profiled": False,
    }


def _read(path: Path) -> Written | None:
    """The file's own graph; None on a device, which has a runtime and not onnx."""
    try:
        return Written(_load(path), FLOAT_OPERATORS)
    except RuntimeUnavailable:
        return None


def _load(path: Path) -> Any:
    onnx = import_package("onnx", install="pip install onnx")
    try:
        return onnx.load(path, load_external_data=False)
    except Exception as error:  # protobuf keeps its own error to itself
        raise ArtifactError(f"{path} is not a readable ONNX model: {error}") from error


def _summary(
    integer: Counter[str],
    floating: Counter[str],
    left_float: list[str],
    operators: list[str],
) -> dict[str, Any]:
    weighted = integer.total() + floating.total()
    return {
        "int8": dict(sorted(integer.items())),
        "float": dict(sorted(floating.items())),
        "int8_share": integer.total() / weighted if weighted else 0.0,
        "left_float": left_float,
        "operators": dict(sorted(Counter(operators).items())),
    }


def _profiled_nodes(path: Path) -> list[RanNode]:
    """Every node of one inference, in order."""
    options = session_options()
    with profiled(options):
        return ran_nodes(open_inference_session(os.fspath(path), options, what=str(path)))
