"""Reading a float file, and making it ready for quantization."""

from __future__ import annotations

import os
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

from cake_edge.errors import ArtifactError, NumericsError
from cake_edge.onnx_file import check_image_input, read_model
from exporters.operators import is_integer_operator
from exporters.runtimes.ort import open_inference_session, session_options

__all__ = ["drop_unused", "float_tensors", "name_nodes", "prepare", "read_float_model"]

QUANTIZED_OPERATORS = ("QuantizeLinear", "DequantizeLinear", "MatMulNBits")


def read_float_model(path: Path) -> onnx.ModelProto:
    """Reads an ONNX file that is to be quantized.

    Raises:
        ArtifactError: it is missing, not ONNX, quantized already, or takes something else than
            images of one size; or its weights lie where they must not.
        NumericsError: a weight is NaN or infinite.
    """
    model = read_model(path)
    check_image_input(model, str(path))
    found = Counter(
        node.op_type
        for node in model.graph.node
        if node.op_type in QUANTIZED_OPERATORS or is_integer_operator(node.op_type)
    )
    if found:
        counts = ", ".join(f"{number} {name}" for name, number in sorted(found.items()))
        raise ArtifactError(f"{path} is quantized already ({counts}); give the float model")
    for weight in model.graph.initializer:
        if not np.isfinite(numpy_helper.to_array(weight)).all():
            raise NumericsError(
                f"{path}: the weight {weight.name} holds a NaN or an infinity; export a network "
                "that was trained without diverging"
            )
    return model


def prepare(model: onnx.ModelProto) -> onnx.ModelProto:
    """Returns the model folded, with means over the image as pooling, and all types known.

    The folding is ONNX Runtime's own of the kind that stays portable ("basic").
    """
    # Not onnxruntime's quant_pre_process: it logs to stderr and goes on when the folding fails.
    import onnxruntime as ort

    with tempfile.TemporaryDirectory(prefix="cake-edge-") as folder:
        folded = Path(folder) / "folded.onnx"
        options = session_options()
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
        options.optimized_model_filepath = os.fspath(folded)
        open_inference_session(model.SerializeToString(), options, what="the float model")
        ready = onnx.load(folded)
    used = {node.domain for node in ready.graph.node}
    imports = [entry for entry in ready.opset_import if entry.domain in used | {""}]
    del ready.opset_import[:]
    ready.opset_import.extend(imports)
    typed = onnx.shape_inference.infer_shapes(ready)
    _pool_means(typed)
    name_nodes(typed.graph)
    return typed


def drop_unused(graph: onnx.GraphProto) -> None:
    """Takes out constants that nothing reads any more."""
    used = {name for node in graph.node for name in node.input}
    used |= {port.name for port in graph.output}
    kept = [constant for constant in graph.initializer if constant.name in used]
    del graph.initializer[:]
    graph.initializer.extend(kept)


def name_nodes(graph: onnx.GraphProto) -> None:
    """Names nodes without a name, as inlined functions leave them: nodes are spoken of by name."""
    taken = {node.name for node in graph.node}
    for place, node in enumerate(graph.node):
        if not node.name:
            node.name = f"{node.op_type}_{place}"
            while node.name in taken:
                node.name += "_"
            taken.add(node.name)


def _pool_means(model: onnx.ModelProto) -> None:
    """Turns ReduceMean over height and width into the GlobalAveragePool it is, in place.

    ONNX Runtime has an integer form of the second only.
    """
    graph = model.graph
    constants = {weight.name: weight for weight in graph.initializer}
    images = {info.name for info in graph.value_info if len(info.type.tensor_type.shape.dim) == 4}
    for node in graph.node:
        if node.op_type != "ReduceMean" or len(node.input) != 2 or node.input[0] not in images:
            continue
        axes = constants.get(node.input[1])
        kept = all(item.name != "keepdims" or item.i == 1 for item in node.attribute)
        if axes is None or not kept:
            continue
        if {int(axis) % 4 for axis in numpy_helper.to_array(axes)} == {2, 3}:
            node.op_type = "GlobalAveragePool"
            del node.input[1:]
            del node.attribute[:]
    drop_unused(graph)


def float_tensors(model: onnx.ModelProto) -> list[str]:
    """Returns the names of all float activations: inputs, intermediate values, outputs."""
    graph = model.graph
    constants = {weight.name for weight in graph.initializer}
    infos = [*graph.input, *graph.value_info, *graph.output]
    floats = {
        info.name
        for info in infos
        if info.type.tensor_type.elem_type == onnx.TensorProto.FLOAT and info.name not in constants
    }
    return sorted(floats)
