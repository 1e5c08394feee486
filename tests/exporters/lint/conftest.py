"""Small quantized graphs, built part by part, with a fault where a test wants one."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from exporters.tensorrt import CompileResult, compile_onnx

# The type that onnx reads INT4 as.
FOUR_BITS = helper.tensor_dtype_to_np_dtype(TensorProto.INT4)
IMAGE = ("batch", 3, 16, 16)


class Parts:
    """Collects nodes and weights; every method returns the name of the tensor it adds."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []
        self.random = np.random.default_rng(0)

    def constant(self, name: str, values: npt.ArrayLike, kind: Any = np.float32) -> str:
        self.weights.append(numpy_helper.from_array(np.asarray(values, kind), name))
        return name

    def node(self, operator: str, *inputs: str, name: str = "", **attributes: Any) -> str:
        name = name or operator.lower()
        given = helper.make_node(operator, inputs, [f"{name}:0"], name=name, **attributes)
        self.nodes.append(given)
        return f"{name}:0"

    def quantized(
        self, source: str, name: str, *, kind: Any = np.int8, zero: int = 0, scale: Any = 0.05
    ) -> str:
        """Q and DQ of an activation; several scales lie along the channels."""
        scales = np.asarray(scale, np.float32)
        axis = {"axis": 1} if scales.ndim else {}
        places = (
            self.constant(f"{name}.s", scales),
            self.constant(f"{name}.z", np.full(scales.shape, zero), kind),
        )
        stored = self.node("QuantizeLinear", source, *places, name=f"{name}.q", **axis)
        return self.node("DequantizeLinear", stored, *places, name=f"{name}.dq", **axis)

    def weight(
        self,
        shape: tuple[int, ...],
        name: str,
        *,
        axis: int | None = 0,
        kind: Any = np.int8,
        zero: int = 0,
        largest: int = 127,
    ) -> str:
        """A stored weight and its DQ; no axis is one scale for all of it."""
        largest = 7 if kind == FOUR_BITS else largest
        lowest = 0 if kind == np.uint8 else -largest
        values = self.random.integers(lowest, largest + 1, shape)
        scales = np.asarray(0.01) if axis is None else np.linspace(0.01, 0.02, shape[axis])
        places = (
            self.constant(name, values, kind),
            self.constant(f"{name}.s", scales),
            self.constant(f"{name}.z", np.full(scales.shape, zero), kind),
        )
        along = {} if axis is None else {"axis": axis}
        return self.node("DequantizeLinear", *places, name=f"{name}.dq", **along)

    def bias(self, name: str, *, integer: bool, count: int = 8, scale: npt.ArrayLike = 5e-4) -> str:
        if not integer:
            return self.constant(name, self.random.standard_normal(count))
        places = (
            self.constant(name, self.random.integers(-99, 99, count), np.int32),
            self.constant(f"{name}.s", np.broadcast_to(scale, count)),
            self.constant(f"{name}.z", np.zeros(count), np.int32),
        )
        return self.node("DequantizeLinear", *places, name=f"{name}.dq", axis=0)

    def conv(self, source: str, weight: str, *bias: str, name: str = "conv") -> str:
        return self.node("Conv", source, weight, *bias, name=name, pads=[1] * 4)

    def model(
        self,
        output: str,
        *,
        shape: tuple[str | int, ...] = IMAGE,
        opset: int = 17,
        domains: tuple[str, ...] = (),
    ) -> onnx.ModelProto:
        self.nodes.append(helper.make_node("Identity", [output], ["out"], name="out"))
        source = helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)
        result = helper.make_tensor_value_info("out", TensorProto.FLOAT, None)
        graph = helper.make_graph(self.nodes, "graph", [source], [result], self.weights)
        imports = [helper.make_opsetid("", opset)]
        imports += [helper.make_opsetid(domain, 1) for domain in domains]
        model = helper.make_model(graph, opset_imports=imports)
        model.ir_version = 9
        # The checker wants a shape of outputs; operators it does not know give none.
        known = onnx.shape_inference.infer_shapes(model).graph.output[0].type.tensor_type.shape
        model.graph.output[0].type.tensor_type.shape.CopyFrom(known)
        return model


@pytest.fixture
def parts() -> Parts:
    """An empty graph to add to."""
    return Parts()


@pytest.fixture
def four_bits() -> np.dtype[Any]:
    """The type of 4-bit weights."""
    return FOUR_BITS


@pytest.fixture
def saved(tmp_path: Path) -> Callable[[onnx.ModelProto], Path]:
    """Writes a model; returns where."""

    def write(model: onnx.ModelProto) -> Path:
        path = tmp_path / "model.onnx"
        onnx.save(model, path)
        return path

    return write


@pytest.fixture
def compiled(saved: Callable[[onnx.ModelProto], Path]) -> Callable[..., CompileResult]:
    """Compiles a model with NVIDIA's compiler."""
    if importlib.util.find_spec("tensorrt_rtx") is None:
        pytest.skip("tensorrt_rtx is not installed: pip install tensorrt-rtx-cu13")
    return lambda model: compile_onnx(saved(model), module="tensorrt_rtx", timeout_seconds=120)
