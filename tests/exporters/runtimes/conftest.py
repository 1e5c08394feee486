"""Small ONNX files written by hand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper


@pytest.fixture
def write_model(tmp_path: Path) -> Callable[..., Path]:
    """Writes a graph of these nodes from `input` to `logits`."""

    def write(
        nodes: Sequence[onnx.NodeProto],
        *,
        weights: dict[str, np.ndarray] | None = None,
        given: tuple[object, ...] = ("batch", 2, 3, 3),
        got: tuple[object, ...] = ("batch", 2),
        kind: int = TensorProto.FLOAT,
        more_inputs: Sequence[str] = (),
    ) -> Path:
        ports = [
            helper.make_tensor_value_info(name, kind, given) for name in ("input", *more_inputs)
        ]
        graph = helper.make_graph(
            nodes,
            "g",
            ports,
            [helper.make_tensor_value_info("logits", kind, got)],
            [numpy_helper.from_array(value, name) for name, value in (weights or {}).items()],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
        model.ir_version = 9
        path = tmp_path / "hand.onnx"
        onnx.save(model, path)
        return path

    return write


@pytest.fixture
def pooled(write_model: Callable[..., Path]) -> Path:
    """The mean of each of two channels, as logits."""
    nodes = [
        helper.make_node("GlobalAveragePool", ["input"], ["mean"]),
        helper.make_node("Flatten", ["mean"], ["logits"]),
    ]
    return write_model(nodes)
