"""What is not quantized, in half precision: for builders that take every type from the file.

TensorRT computes a strongly typed network in the types the file says (the only way since version
11), so a float32 body would run its unquantized layers at half the speed the device has.
"""

from __future__ import annotations

import copy
import logging
import warnings

import onnx
from onnxruntime.quantization.onnx_model import ONNXModel
from onnxruntime.transformers.float16 import convert_float_to_float16

from cake_edge.errors import ArtifactError
from cake_edge.onnx_file import default_opset

__all__ = ["HALF_OPSET", "half_body"]

HALF_OPSET = 19
"""Since which QuantizeLinear and DequantizeLinear know float16."""


def half_body(model: onnx.ModelProto) -> onnx.ModelProto:
    """Returns the model computing in float16, its input and output still float32.

    Scales become float16 as well: QuantizeLinear and what it reads must be of one type.

    Raises:
        ArtifactError: the model is quantized, and of an opset before `HALF_OPSET`.
    """
    if default_opset(model) < HALF_OPSET and _is_quantized(model):
        raise ArtifactError(
            f"the model is of opset {default_opset(model)}, whose QuantizeLinear knows no float16; "
            f"that needs opset {HALF_OPSET}. Quantize the float model, exported anew by cake-edge "
            "export, or name --target tensorrt"
        )
    known = onnx.shape_inference.infer_shapes(copy.deepcopy(model))
    logger = logging.getLogger("onnxruntime.transformers.float16")
    level = logger.level
    try:
        # It reports every weight below float16's smallest step; they become that step.
        logger.setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            # Resize and others have blocks of their own in the library's list; they are kept.
            converted: onnx.ModelProto = convert_float_to_float16(known, keep_io_types=True)
    finally:
        logger.setLevel(level)
    ONNXModel(converted).topological_sort()
    del converted.graph.value_info[:]
    # In full: that types meet is what may have gone wrong, and the plain check passes over it.
    onnx.checker.check_model(converted, full_check=True)
    return converted


def _is_quantized(model: onnx.ModelProto) -> bool:
    return any(node.op_type in ("QuantizeLinear", "DequantizeLinear") for node in model.graph.node)
