"""ONNX's element types as torch's, and stored tensors as torch's.

Every float type is the one that the network computes in, float32 unless it is moved: a float16
model is a float32 model whose weights were rounded, and gradients want the range.
"""

from __future__ import annotations

import numpy as np
import onnx
import torch
from onnx import TensorProto, numpy_helper

from cake_edge.errors import TeacherError
from cake_edge.onnx_network.refusals import UnsupportedOnnx

__all__ = ["cast_to", "tensor_from_proto"]

FLOATS = frozenset(
    {TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.DOUBLE}
)
# Torch has few operators for unsigned integers of more than 8 bits.
INTEGERS: dict[int, torch.dtype] = {
    TensorProto.BOOL: torch.bool,
    TensorProto.INT8: torch.int8,
    TensorProto.INT16: torch.int16,
    TensorProto.INT32: torch.int32,
    TensorProto.INT64: torch.int64,
    TensorProto.UINT8: torch.uint8,
    TensorProto.UINT16: torch.int64,
    TensorProto.UINT32: torch.int64,
    TensorProto.UINT64: torch.int64,
}


def type_name(kind: int) -> str:
    """Returns ONNX's name of an element type."""
    try:
        return str(TensorProto.DataType.Name(kind))
    except ValueError:
        return f"number {kind}"


def torch_type(kind: int, like: torch.Tensor) -> torch.dtype:
    """Returns torch's type for an ONNX element type.

    Raises:
        UnsupportedOnnx: strings, complex numbers, and floats and integers of few bits.
    """
    if kind in FLOATS:
        return like.dtype
    if kind in INTEGERS:
        return INTEGERS[kind]
    known = ", ".join(type_name(each) for each in sorted({*FLOATS, *INTEGERS}))
    raise UnsupportedOnnx(
        f"values of type {type_name(kind)} are used; known here: {known}. Give the float model"
    )


def cast_to(tensor: torch.Tensor, kind: int, like: torch.Tensor) -> torch.Tensor:
    """Returns a tensor in an ONNX element type."""
    return tensor.to(torch_type(kind, like))


def tensor_from_proto(proto: onnx.TensorProto) -> torch.Tensor:
    """Returns a stored tensor, floats as float32.

    Raises:
        TeacherError: its bytes do not fit its shape.
        UnsupportedOnnx: its type is not known here.
    """
    dtype = torch_type(proto.data_type, torch.empty(0))
    try:
        array = numpy_helper.to_array(proto)
        array = np.array(array, dtype=torch.empty(0, dtype=dtype).numpy().dtype, order="C")
    except (ValueError, TypeError, OverflowError, MemoryError) as error:
        raise TeacherError(
            f"the constant {proto.name!r} of shape {list(proto.dims)} cannot be read: {error}"
        ) from error
    return torch.from_numpy(array)
