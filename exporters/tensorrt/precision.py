"""Which operators run in INT8 in an engine, read off its list of layers.

Each layer tells its kind, the types of its inputs, constants and outputs, and the names of the ONNX
nodes that it stands for. A convolution or matrix product is integer if a layer that stands for it
multiplies two INT8 tensors. The layers that only quantize its input have one, and those that
rescale its output none. A "runtime_fusion" takes two and dequantizes them before it multiplies:
weights may be stored in INT8 for their size alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from exporters.tensorrt.layers import Layer

__all__ = ["coverage_from_layers"]

DEQUANTIZES = "runtime_fusion"
FACTORS = 2


def coverage_from_layers(layers: Sequence[Layer], weighted: Mapping[str, str]) -> dict[str, Any]:
    """Counts the operators with weights of an engine by precision.

    Args:
        weighted: the nodes that multiply, by name, and the kind of each ("Conv", "MatMul").

    Returns:
        As `CompileResult.coverage` says.
    """
    integer = {
        node
        for layer in layers
        if layer.kind != DEQUANTIZES and layer.taken.count("int8") >= FACTORS
        for node in layer.nodes
    }
    counted = {
        True: Counter(kind for name, kind in weighted.items() if name in integer),
        False: Counter(kind for name, kind in weighted.items() if name not in integer),
    }
    return {
        "int8": dict(sorted(counted[True].items())),
        "float": dict(sorted(counted[False].items())),
        "int8_share": counted[True].total() / len(weighted) if weighted else 0.0,
        "left_float": [name for name in weighted if name not in integer],
    }
