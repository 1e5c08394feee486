"""Takes a file with QuantizeLinear and DequantizeLinear back to the float graph it stands for.

Weights become what their integers stand for, so rounding them again gives the same integers.
Activations lose their Q and DQ, and tensors have the names back that they had before these went in,
as ONNX Runtime's quantizer names what it adds after what was there.

One thing is not to be seen in such a file: where integers have a zero point, a ReLU or Clip whose
range they clamp anyway is taken out of the graph. `removed_activations` says which, for the file's
card. Without it, a ReLU goes where integers cannot be negative, which computes what the file
computes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper

from cake_edge.errors import ArtifactError
from exporters.quantize.ranges import Range, TensorRanges
from exporters.quantize.widen import widened

__all__ = ["Unquantized", "Weight", "removed_activations", "stored_weights", "unquantize"]

Array = npt.NDArray[Any]

SUFFIX = "_quantized"
SCALE = "_scale"
INPUT = "_QuantizeLinear_Input"
CLAMPING = ("Relu", "Clip")
NEVER_NEGATIVE = frozenset({*CLAMPING, "Sigmoid", "HardSigmoid", "Softmax"})
# Negative only where what they read is.
PASSING = frozenset(
    {
        *("MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool", "ReduceMean", "Resize"),
        *("Reshape", "Transpose", "Flatten", "Squeeze", "Unsqueeze", "Slice", "Concat"),
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Weight:
    """A constant as a file stores it."""

    name: str
    """Of the float constant it stands for."""
    stored: str
    """Of the initialiser that holds the integers."""
    integers: Array
    """int8, int4 or int32."""
    scale: str
    """Of the initialiser that holds the scales."""
    scales: npt.NDArray[np.float32]
    """One, or one a channel."""
    zero_point: Array
    """Of the shape of `scales`."""
    axis: int
    """That the channels lie on."""

    def along(self, values: Array) -> Array:
        """Shapes one value a channel so that it meets the integers it belongs to."""
        if values.size == 1:
            return values.reshape(())
        shape = [1] * self.integers.ndim
        shape[self.axis] = -1
        return values.reshape(shape)

    def values(self) -> npt.NDArray[np.float32]:
        """What the integers stand for."""
        whole = self.integers.astype(np.float64) - self.along(self.zero_point.astype(np.float64))
        found: npt.NDArray[np.float32] = (whole * self.along(self.scales)).astype(np.float32)
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Unquantized:
    """A float graph, and what was known of it in integers."""

    model: onnx.ModelProto
    """All float32, its types known."""
    weights: Mapping[str, Weight]
    """The constants that were integers, by name."""
    ranges: Mapping[str, TensorRanges]
    """What the integers of each activation covered."""
    restored: tuple[str, ...]
    """Names of the activation functions that were put back."""


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
                "ends": [
                    numpy_helper.to_array(constants[end]).item() if end else None for end in ends
                ],
            }
        )
    return removed


def unquantize(
    quantized: onnx.ModelProto, removed: Iterable[Mapping[str, Any]] | None = None
) -> Unquantized:
    """Returns the float graph behind a file with Q and DQ; `quantized` is left as it is.

    Args:
        removed: what `removed_activations` said as the file was written; None where nobody knows.

    Raises:
        ArtifactError: a Q or DQ stands where it cannot be taken out.
    """
    model = widened(quantized)
    weights = stored_weights(model)
    ranges = _covered(model)
    clamped = _clamped(model) if removed is None else []
    graph = model.graph
    _constants_to_float(model, weights)
    _take_out_pairs(model)
    restored = clamped if removed is None else _usable(graph, removed)
    for one in restored:
        _put_back(graph, one)
    _drop_unused(graph)
    _name_nodes(graph)
    del graph.value_info[:]
    onnx.checker.check_model(model)
    return Unquantized(
        model=onnx.shape_inference.infer_shapes(model),
        weights={weight.name: weight for weight in weights.values()},
        ranges=ranges,
        restored=tuple(str(one["name"]) for one in restored),
    )


def stored_weights(model: onnx.ModelProto) -> dict[str, Weight]:
    """Returns the constants that DequantizeLinear reads as integers, by the name of its output.

    Raises:
        ArtifactError: one has a scale for every block of values.
    """
    constants = {weight.name: weight for weight in model.graph.initializer}
    found = {}
    for node in model.graph.node:
        if node.op_type != "DequantizeLinear" or node.input[0] not in constants:
            continue
        given = {item.name: onnx.helper.get_attribute_value(item) for item in node.attribute}
        if given.get("block_size", 0):
            raise ArtifactError(
                f"the constant {node.input[0]} has a scale for each {given['block_size']} values, "
                "as weight-only files have; quantize the float model for the other target"
            )
        integers, scales = (numpy_helper.to_array(constants[each]) for each in node.input[:2])
        zero = np.zeros(scales.shape, np.int8)
        if len(node.input) > 2 and node.input[2]:
            zero = numpy_helper.to_array(constants[node.input[2]])
        found[node.output[0]] = Weight(
            name=node.input[0].removesuffix(SUFFIX),
            stored=node.input[0],
            integers=integers,
            scale=node.input[1],
            scales=scales.astype(np.float32),
            zero_point=zero,
            axis=int(given.get("axis", 1)),
        )
    return found


def _covered(model: onnx.ModelProto) -> dict[str, TensorRanges]:
    """By tensor the range that its integers cover; without a zero point, its farther end."""
    constants = {weight.name: weight for weight in model.graph.initializer}
    found = {}
    for node in model.graph.node:
        if node.op_type != "QuantizeLinear" or node.input[0] in constants:
            continue
        low, high = _reach(node, constants)
        far = max(-low, high)
        found[node.input[0].removesuffix(INPUT)] = TensorRanges(
            asymmetric=Range(low, high, "file"), symmetric=Range(-far, far, "file")
        )
    return found


def _reach(node: onnx.NodeProto, constants: Mapping[str, onnx.TensorProto]) -> tuple[float, float]:
    """Values of the lowest and the highest level of a QuantizeLinear on an activation."""
    if any(name and name not in constants for name in node.input[1:]):
        raise ArtifactError(
            f"the scale of {node.name or node.output[0]} is computed and not stored; "
            "quantize the float model for the other target"
        )
    scale = numpy_helper.to_array(constants[node.input[1]])
    if scale.size != 1:
        raise ArtifactError(
            f"the activation {node.input[0]} has {scale.size} scales; a target takes one. "
            "Quantize the float model for it"
        )
    kind, zero = int(onnx.TensorProto.UINT8), 0
    if len(node.input) > 2 and node.input[2]:
        kind = constants[node.input[2]].data_type
        zero = int(numpy_helper.to_array(constants[node.input[2]]).reshape(()))
    if kind not in (onnx.TensorProto.UINT8, onnx.TensorProto.INT8):
        said = onnx.TensorProto.DataType.Name(kind)
        raise ArtifactError(
            f"the activation {node.input[0]} is quantized to {said}, which no target here takes; "
            "quantize the float model"
        )
    # A signed byte without a zero point is written by its 127 levels on either side.
    lowest = 0 if kind == onnx.TensorProto.UINT8 else (-127 if zero == 0 else -128)
    highest = 255 if kind == onnx.TensorProto.UINT8 else 127
    step = float(scale.reshape(()))
    return (lowest - zero) * step, (highest - zero) * step


def _clamped(model: onnx.ModelProto) -> list[dict[str, Any]]:
    """The tensors that can be negative but for their integers: where a ReLU may have been."""
    constants = {weight.name: weight for weight in model.graph.initializer}
    producers = {name: node.op_type for node in model.graph.node for name in node.output}
    found = []
    for node in model.graph.node:
        if node.op_type != "QuantizeLinear" or producers.get(node.input[0]) is None:
            continue
        if producers[node.input[0]] in NEVER_NEGATIVE | PASSING:
            continue
        if _reach(node, constants)[0] == 0:
            name = node.input[0]
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


def _constants_to_float(model: onnx.ModelProto, weights: Mapping[str, Weight]) -> None:
    """Replaces integer constants, and DQ on them, by float constants; Q on a constant goes."""
    graph = model.graph
    renamed = {output: weight.name for output, weight in weights.items()}
    taken = {weight.name for weight in graph.initializer}
    for weight in {one.name: one for one in weights.values()}.values():
        if weight.name in taken and weight.name != weight.stored:
            raise ArtifactError(f"the file holds {weight.name} in float beside {weight.stored}")
        graph.initializer.append(numpy_helper.from_array(weight.values(), weight.name))
    stored = {weight.stored for weight in weights.values()}
    kept = [
        weight
        for weight in graph.initializer
        if weight.name not in stored or weight.data_type == onnx.TensorProto.FLOAT
    ]
    del graph.initializer[:]
    graph.initializer.extend(kept)
    _remove_nodes(graph, renamed)


def _take_out_pairs(model: onnx.ModelProto) -> None:
    """Leads what reads a DequantizeLinear to what its QuantizeLinear reads."""
    graph = model.graph
    outputs = {port.name for port in graph.output}
    quantizers = {node.output[0]: node for node in graph.node if node.op_type == "QuantizeLinear"}
    renamed = {}
    for node in graph.node:
        integer = [name for name in node.input if name in quantizers]
        if node.op_type != "DequantizeLinear" and integer:
            raise ArtifactError(
                f"{node.op_type} {node.name or node.output[0]} computes with the integers of "
                f"{integer[0]}; only files with a DequantizeLinear behind each QuantizeLinear "
                "can change their target. Quantize the float model"
            )
        if node.op_type == "DequantizeLinear":
            if node.input[0] not in quantizers:
                raise ArtifactError(
                    f"DequantizeLinear {node.name or node.output[0]} reads integers that no "
                    "QuantizeLinear makes; quantize the float model"
                )
            renamed[node.output[0]] = quantizers[node.input[0]].input[0]
    _remove_nodes(graph, renamed)
    nodes = [node for node in graph.node if node.op_type != "QuantizeLinear"]
    del graph.node[:]
    graph.node.extend(nodes)
    # An output of the model keeps its name; what made it before Q and DQ takes that name on.
    back = {_resolved(name, renamed): name for name in outputs & set(renamed)}
    for node in graph.node:
        for names in (node.input, node.output):
            for place, name in enumerate(names):
                names[place] = back.get(name, name)


def _remove_nodes(graph: onnx.GraphProto, renamed: Mapping[str, str]) -> None:
    """Takes out the nodes that make the keys; what reads a key reads its value."""
    nodes = [node for node in graph.node if not renamed.keys() & set(node.output)]
    del graph.node[:]
    graph.node.extend(nodes)
    for node in graph.node:
        for place, name in enumerate(node.input):
            node.input[place] = _resolved(name, renamed)


def _resolved(name: str, renamed: Mapping[str, str]) -> str:
    # A bias keeps its name behind DequantizeLinear.
    while renamed.get(name, name) != name:
        name = renamed[name]
    return name


def _usable(
    graph: onnx.GraphProto, removed: Iterable[Mapping[str, Any]]
) -> list[Mapping[str, Any]]:
    """Those that are indeed missing."""
    made = {name for node in graph.node for name in node.output}
    return [one for one in removed if one["output"] in made and one["input"] not in made]


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


def _drop_unused(graph: onnx.GraphProto) -> None:
    used = {name for node in graph.node for name in node.input}
    used |= {port.name for port in graph.output}
    kept = [weight for weight in graph.initializer if weight.name in used]
    del graph.initializer[:]
    graph.initializer.extend(kept)


def _name_nodes(graph: onnx.GraphProto) -> None:
    """Names those without a name: which nodes stay float is said by name."""
    taken = {node.name for node in graph.node}
    for index, node in enumerate(graph.node):
        if not node.name:
            node.name = f"{node.op_type}_{index}"
            while node.name in taken:
                node.name += "_"
            taken.add(node.name)
