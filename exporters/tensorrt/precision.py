"""Which operators run in INT8 in an engine, read off the list of layers that the builder logs.

With detailed profiling the builder ends its verbose log with one line for each layer of the engine:
its kind, the types of its inputs, constants and outputs, and the names of the ONNX nodes that it
stands for. A convolution or matrix product is integer if a layer that stands for it multiplies two
INT8 tensors. The layers that only quantize its input have one, and those that rescale its output
none. A "runtime_fusion" takes two and dequantizes them before it multiplies: weights may be stored
in INT8 for their size alone.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

__all__ = ["coverage_from_log"]

HEADING = "Layers:\n"
LAYER = re.compile(
    r"^Name: .*?, LayerType: (?P<kind>\w+), (?P<taken>Inputs: .*?), Outputs: .*?, "
    r"Metadata: (?P<stands_for>.*)$"
)
DEQUANTIZES = "runtime_fusion"
FACTORS = 2
INT8 = re.compile(r"Datatype: Int8\b")
NODE = re.compile(r"\[ONNX Layer: (.*?)\]")


def coverage_from_log(lines: Iterable[str], weighted: Mapping[str, str]) -> dict[str, Any] | None:
    """Counts the operators with weights of an engine by precision.

    Args:
        lines: the verbose log of the build.
        weighted: the nodes that multiply, by name, and the kind of each ("Conv", "MatMul").

    Returns:
        As `CompileResult.coverage` says; None where the log holds no list of layers.
    """
    listing = next((line for line in lines if line.startswith(HEADING)), None)
    if listing is None:
        return None
    integer = _integer_nodes(listing)
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


def _integer_nodes(listing: str) -> set[str]:
    found: set[str] = set()
    for line in listing.splitlines():
        layer = LAYER.match(line)
        if layer and layer["kind"] != DEQUANTIZES and len(INT8.findall(layer["taken"])) >= FACTORS:
            found.update(NODE.findall(layer["stands_for"]))
    return found
