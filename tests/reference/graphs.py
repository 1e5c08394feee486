"""ONNX graphs written out node by node."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

__all__ = ["model_of"]


def model_of(
    nodes: Iterable[tuple[str, str, list[str], list[str]]],
    constants: Mapping[str, np.ndarray],
    shape: tuple[str | int, ...] = ("batch", 2, 6, 6),
) -> onnx.ModelProto:
    """Returns a graph from `input` to `logits`, shapes inferred.

    Args:
        nodes: name, operator, inputs and outputs of each.
        constants: initializers by name.
        shape: of `input`.
    """
    graph = helper.make_graph(
        [helper.make_node(*ends, name=name) for name, *ends in nodes],
        "g",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)])
    model.ir_version = 10
    return onnx.shape_inference.infer_shapes(model)
