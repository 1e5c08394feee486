"""A quantized convolution, and stand-ins for NVIDIA's library that misbehave."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper


@pytest.fixture
def needs_compiler() -> None:
    """Skips where NVIDIA's compiler is not installed."""
    if importlib.util.find_spec("tensorrt_rtx") is None:
        pytest.skip("tensorrt_rtx is not installed: pip install tensorrt-rtx-cu13")


@pytest.fixture
def quantized(tmp_path: Path) -> Path:
    """x -> Q -> DQ -> Conv -> Relu, batch dynamic, as TensorRT wants it."""
    values = {
        "scale": np.float32(0.05),
        "zero": np.int8(0),
        "weight": np.random.default_rng(0).integers(-127, 128, (8, 3, 3, 3)).astype(np.int8),
    }
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["q"], name="quantize"),
        helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["d"], name="dequantize"),
        helper.make_node("DequantizeLinear", ["weight", "scale", "zero"], ["w"], name="stored"),
        helper.make_node("Conv", ["d", "w"], ["c"], name="conv", pads=[1] * 4),
        helper.make_node("Relu", ["c"], ["out"], name="relu"),
    ]
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ("batch", 3, 16, 16))],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, ("batch", 8, 16, 16))],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in values.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    path = tmp_path / "model.onnx"
    onnx.save(model, path)
    return path


@pytest.fixture
def stand_in(tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Puts a module in the place of `tensorrt`, here and in child processes."""

    def install(source: str) -> None:
        folder = tmp_path / "modules"
        folder.mkdir()
        (folder / "tensorrt.py").write_text(source, encoding="utf-8")
        monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(folder), str(root / "tests")]))
        monkeypatch.syspath_prepend(folder)
        assert "tensorrt" not in sys.modules

    return install
