"""How much of a model really runs in INT8: counted in a profiled inference, not read off the file.

A quantized file only asks for integer arithmetic. Whether ONNX Runtime fuses QuantizeLinear and
DequantizeLinear into an integer operator depends on its rules for the processor at hand; what it
does not fuse runs in float, between two conversions.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from cake_edge.errors import ArtifactError
from exporters.runtimes.ort import open_inference_session, session_options

__all__ = ["coverage"]

# ONNX Runtime's operators with weights, by the kind they stand for.
INT8_OPERATORS = {
    "QLinearConv": "Conv",
    "ConvInteger": "Conv",
    "QGemm": "Gemm",
    "QLinearMatMul": "MatMul",
    "MatMulInteger": "MatMul",
    "MatMulIntegerToFloat": "MatMul",
    "DynamicQuantizeMatMul": "MatMul",
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


def coverage(path: Path) -> dict[str, Any]:
    """Runs `path` once on a blank image and counts the operators that ran.

    Returns:
        `int8` and `float`: number of operators with weights by kind (Conv, Gemm, MatMul);
        `int8_share`: share of them in INT8, in [0, 1]; `left_float`: the names of those that are
        not; `operators`: every operator that ran, by name, with its number.

    Raises:
        ArtifactError: the file is missing or ONNX Runtime cannot run it.
    """
    if not path.is_file():
        raise ArtifactError(f"{path} does not exist or is not a file; name an ONNX file")
    nodes = _profiled_nodes(path)
    integer, floating = Counter[str](), Counter[str]()
    left_float = []
    for name, operator in nodes:
        if operator in INT8_OPERATORS:
            integer[INT8_OPERATORS[operator]] += 1
        elif operator in FLOAT_OPERATORS:
            floating[FLOAT_OPERATORS[operator]] += 1
            left_float.append(name)
    weighted = integer.total() + floating.total()
    return {
        "int8": dict(sorted(integer.items())),
        "float": dict(sorted(floating.items())),
        "int8_share": integer.total() / weighted if weighted else 0.0,
        "left_float": left_float,
        "operators": dict(sorted(Counter(operator for _, operator in nodes).items())),
    }


def _profiled_nodes(path: Path) -> list[tuple[str, str]]:
    """(name, operator) of every node of one inference, in order."""
    with tempfile.TemporaryDirectory(prefix="cake-edge-") as folder:
        options = session_options()
        options.enable_profiling = True
        options.profile_file_prefix = os.fspath(Path(folder) / "profile")
        session = open_inference_session(os.fspath(path), options, what=str(path))
        blanks = {
            port.name: np.zeros([d if isinstance(d, int) else 1 for d in port.shape], np.float32)
            for port in session.get_inputs()
        }
        session.run(None, blanks)
        events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
    suffix = "_kernel_time"
    return [
        (event["name"].removesuffix(suffix), event["args"]["op_name"])
        for event in events
        if event.get("cat") == "Node" and event["name"].endswith(suffix)
    ]
