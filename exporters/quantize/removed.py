"""The activation functions that zero points stand for.

Where integers have a zero point, ONNX Runtime's quantizer takes a ReLU or Clip out of the graph if
the range of the integers clamps its values anyway. Such a file no longer says so; in a dialect
whose integers are signed around 0 the function would be missed. `removed_activations` says which
they were, for the file's card. Without it, a ReLU goes where integers cannot be negative, which
computes what the file computes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from cake_edge.errors import ArtifactError
from exporters.quantize.ranges import TensorRanges

__all__ = ["likely_activations", "put_back", "removed_activations"]

CLAMPING = ("Relu", "Clip")
NEVER_NEGATIVE = frozenset({*CLAMPING, "Sigmoid", "HardSigmoid", "Softmax"})
# Negative only where what they read is.
PASSING = frozenset(
    {
        *("MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool", "ReduceMean", "Resize"),
        *("Reshape", "Transpose", "Flatten", "Squeeze", "Unsqueeze", "Slice", "Concat"),
    }
)


def removed_activations(ready: onnx.ModelProto, written: onnx.ModelProto) -> list[dict[str, Any]]:
    """Returns, as plain JSON values, each ReLU and Clip of `ready` that `written` lacks."""
    made = {name for node in written.graph.node for name in node.output}
    made |= {port.name for port in written.graph.input}
    constants = {weight.name: weight for weight in ready.graph.initializer}
    removed = []
    for node in ready.graph.node:
        if node.op_type not in CLAMPING or node.input[0] in made:
            continue
        ends = [*node.input[1:], "", ""][:2]
        removed.append(
            {
                "name": node.name,
                "operator": node.op_type,
                "input": node.input[0],
                "output": node.output[0],
                "ends": [_finite(constants.get(end)) for end in ends],
            }
        )
    return removed


def _finite(end: onnx.TensorProto | None) -> float | None:
    value = np.inf if end is None else float(numpy_helper.to_array(end).reshape(()))
    return value if np.isfinite(value) else None


def likely_activations(
    model: onnx.ModelProto, ranges: Mapping[str, TensorRanges]
) -> list[dict[str, Any]]:
    """Returns a ReLU for each tensor that can be negative but for its integers.

    Args:
        ranges: what the integers of each tensor of the float graph `model` covered.
    """
    producers = {name: node.op_type for node in model.graph.node for name in node.output}
    found = []
    for name, one in ranges.items():
        if producers.get(name, "Relu") in NEVER_NEGATIVE | PASSING or one.asymmetric.low < 0:
            continue
        found.append(
            {
                "name": f"{name}_Relu",
                "operator": "Relu",
                "input": f"{name}_before_Relu",
                "output": name,
                "ends": [None, None],
            }
        )
    return found


def put_back(model: onnx.ModelProto, activations: Iterable[Mapping[str, Any]]) -> tuple[str, ...]:
    """Puts activation functions behind the nodes that took their outputs' names, in place.

    Returns:
        The names of those that were indeed missing.

    Raises:
        ArtifactError: what is said of them is damaged.
    """
    made = {name for node in model.graph.node for name in node.output}
    try:
        missing = [one for one in activations if one["output"] in made and one["input"] not in made]
        for one in missing:
            _put_back(model.graph, one)
        return tuple(str(one["name"]) for one in missing)
    except (KeyError, TypeError, ValueError) as error:
        raise ArtifactError(
            f"what the model's metadata says of removed activations is damaged ({error!r}); "
            "quantize the float model again"
        ) from error


def _put_back(graph: onnx.GraphProto, one: Mapping[str, Any]) -> None:
    """Puts an activation function behind the node that took its output's name."""
    place, above = next(
        (index, node) for index, node in enumerate(graph.node) if one["output"] in node.output
    )
    for position, name in enumerate(above.output):
        if name == one["output"]:
            above.output[position] = one["input"]
    inputs = [one["input"]]
    for side, end in zip(("low", "high"), one["ends"], strict=True):
        if one["operator"] == "Clip":
            inputs.append("" if end is None else f"{one['name']}_{side}")
            if end is not None:
                value = np.array(end, np.float32)
                graph.initializer.append(numpy_helper.from_array(value, inputs[-1]))
    node = onnx.helper.make_node(one["operator"], inputs, [one["output"]], name=one["name"])
    graph.node.insert(place + 1, node)
