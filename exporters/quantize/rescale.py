"""Other numbers in a graph that is quantized already: ranges, and the biases of the float model.

Writing Q and DQ anew takes a third of a second for a mobile network, and where they stand does not
depend on the ranges; so of two candidates that differ in numbers alone, only the first is written.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping

import numpy as np
import onnx
from onnx import TensorProto, helper
from onnxruntime.quantization.quant_utils import compute_scale_zp

from exporters.quantize.dialect import Dialect
from exporters.quantize.graph import float_tensors
from exporters.quantize.ranges import Range, TensorRanges
from exporters.quantize.weights import scale_by_channel

__all__ = ["rescaled"]

SCALE, ZERO = "_scale", "_zero_point"


def rescaled(
    written: onnx.ModelProto,
    model: onnx.ModelProto,
    dialect: Dialect,
    ranges: Mapping[str, TensorRanges],
) -> onnx.ModelProto:
    """Returns what `write_qdq` gives for `model` and `ranges`, from another of its results.

    Args:
        written: `write_qdq` of a model that differs from `model` in biases alone, in the same
            dialect, with the same nodes left in float and no weight in 4 bits.
    """
    changed = copy.deepcopy(written)
    constants = {tensor.name: tensor for tensor in changed.graph.initializer}
    for given in model.graph.initializer:
        kept = constants.get(given.name)
        if kept is not None and given.data_type == TensorProto.FLOAT:
            if given.raw_data and kept.raw_data:
                kept.raw_data = given.raw_data
            else:
                kept.CopyFrom(given)
    # A scale bears the name of the tensor whose range it is made of.
    for name in ranges.keys() & set(float_tensors(model)):
        if name + SCALE in constants:
            chosen = ranges[name].of(symmetric=dialect.symmetric)
            _set(constants[name + SCALE], constants[name + ZERO], chosen, dialect)
    scale_by_channel(changed, model, bits=dialect.weight_bits, again=True)
    return changed


def _set(scale: onnx.TensorProto, zero: onnx.TensorProto, chosen: Range, dialect: Dialect) -> None:
    kind = np.int8 if dialect.signed else np.uint8
    ends = np.iinfo(kind)
    least = -ends.max if dialect.symmetric and dialect.signed else ends.min
    place, step = compute_scale_zp(
        np.array(chosen.low, np.float32),
        np.array(chosen.high, np.float32),
        np.array(least, kind),
        np.array(ends.max, kind),
        dialect.symmetric,
    )
    scale.CopyFrom(helper.make_tensor(scale.name, TensorProto.FLOAT, [], [step.item()]))
    zero.CopyFrom(helper.make_tensor(zero.name, zero.data_type, [], [place.item()]))
