"""A half-precision body back in single precision: what `exporters.quantize.body` did, undone."""

from __future__ import annotations

import copy

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

__all__ = ["widened"]

FLOATS = (TensorProto.FLOAT, TensorProto.FLOAT16)
# How the converter names the casts that make the tensor their readers knew before.
MAKES_THE_OLD_NAME = "_cast_to_fp16_node"


def widened(model: onnx.ModelProto) -> onnx.ModelProto:
    """Returns a copy in which every float16 is float32, and no cast stands between the two."""
    wide = copy.deepcopy(model)
    graph = wide.graph
    types = _types(onnx.shape_inference.infer_shapes(wide))
    if TensorProto.FLOAT16 not in types.values():
        return wide
    for tensor in graph.initializer:
        _widen(tensor)
    for node in graph.node:
        for item in node.attribute:
            if item.HasField("t"):
                _widen(item.t)
    for info in [*graph.input, *graph.output]:
        if info.type.tensor_type.elem_type == TensorProto.FLOAT16:
            info.type.tensor_type.elem_type = TensorProto.FLOAT
    del graph.value_info[:]
    _remove_casts(graph, types)
    return wide


def _types(model: onnx.ModelProto) -> dict[str, int]:
    graph = model.graph
    infos = [*graph.input, *graph.value_info, *graph.output]
    found = {info.name: int(info.type.tensor_type.elem_type) for info in infos}
    return found | {tensor.name: int(tensor.data_type) for tensor in graph.initializer}


def _widen(tensor: onnx.TensorProto) -> None:
    if tensor.data_type == TensorProto.FLOAT16:
        values = numpy_helper.to_array(tensor).astype(np.float32)
        tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))


def _remove_casts(graph: onnx.GraphProto, types: dict[str, int]) -> None:
    """Takes out casts from float to float; one to float16 from anything else makes float32."""
    outputs = {port.name for port in graph.output}
    forward: dict[str, str] = {}
    backward: dict[str, str] = {}
    kept = []
    for node in graph.node:
        to = next((item for item in node.attribute if item.name == "to"), None)
        if node.op_type != "Cast" or to is None or to.i not in FLOATS:
            kept.append(node)
        elif types.get(node.input[0]) not in FLOATS:
            to.i = TensorProto.FLOAT
            kept.append(node)
        elif node.output[0] in outputs or node.name.endswith(MAKES_THE_OLD_NAME):
            backward[node.input[0]] = node.output[0]
        else:
            forward[node.output[0]] = node.input[0]
    del graph.node[:]
    graph.node.extend(kept)
    for node in graph.node:
        for place, name in enumerate(node.input):
            while name in forward:
                name = forward[name]
            node.input[place] = backward.get(name, name)
        for place, name in enumerate(node.output):
            node.output[place] = backward.get(name, name)
