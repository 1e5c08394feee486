"""The constants of a file with DequantizeLinear: integers, and the steps they are counted in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper

from cake_edge.errors import ArtifactError

__all__ = ["Weight", "stored_weights"]

Array = npt.NDArray[Any]

SUFFIX = "_quantized"
"""That ONNX Runtime's quantizer puts behind the name of a constant."""


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
