"""The small network made ready for quantization, and quantized for one target."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import pytest

from exporters.quantize import TARGETS
from exporters.quantize.graph import prepare, read_float_model
from exporters.quantize.insert import rangeable_tensors, write_qdq
from exporters.quantize.observe import observe
from exporters.quantize.ranges import TensorRanges, tensor_ranges


@pytest.fixture(scope="module")
def ready(float_file: Path) -> onnx.ModelProto:
    """`float_file`, folded and fused."""
    return prepare(read_float_model(float_file))


@pytest.fixture(scope="module")
def ranges(
    ready: onnx.ModelProto, images: Callable[[], Iterator[npt.NDArray[np.float32]]]
) -> dict[str, TensorRanges]:
    """The least and the largest value of each tensor on `images`."""
    names = rangeable_tensors(ready, [TARGETS["ort-x86"], TARGETS["tensorrt"]])
    found = observe(ready, names, [], images).histograms
    return {name: tensor_ranges(one, least_error=False) for name, one in found.items()}


@pytest.fixture(scope="module")
def written(ready: onnx.ModelProto, ranges: dict[str, TensorRanges]) -> onnx.ModelProto:
    """`ready` as INT8 for ort-x86."""
    return write_qdq(ready, TARGETS["ort-x86"], ranges)
