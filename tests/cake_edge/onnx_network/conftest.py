"""Small ONNX models, and what ONNX Runtime answers to them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper


def _node_model(
    op_type: str,
    opset: int,
    inputs: Sequence[Any],
    attributes: Mapping[str, Any] | None = None,
    *,
    domain: str = "",
    outputs: int = 1,
) -> onnx.ModelProto:
    """A model of one node.

    Its first input is fed if it is of floats; the others are stored, and None is left out.
    """
    feeds, stored, names = [], [], []
    for i, value in enumerate(inputs):
        names.append("" if value is None else f"in.{i}")
        if value is None:
            continue
        array = np.asarray(value)
        if i == 0 and array.dtype == np.float32:
            feeds.append(helper.make_tensor_value_info("in.0", TensorProto.FLOAT, array.shape))
        else:
            stored.append(numpy_helper.from_array(array, f"in.{i}"))
    results = [f"out.{i}" for i in range(outputs)]
    node = helper.make_node(op_type, names, results, "node", domain=domain, **(attributes or {}))
    ports = [helper.make_empty_tensor_value_info(name) for name in results]
    graph = helper.make_graph([node], "one", feeds, ports, stored)
    opsets = [helper.make_opsetid("", opset)]
    if domain:
        opsets.append(helper.make_opsetid(domain, 1))
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def _answers(model: onnx.ModelProto, feeds: Mapping[str, Any]) -> list[Any]:
    """What ONNX Runtime computes, with nothing rearranged first."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return list(session.run(None, dict(feeds)))


@pytest.fixture(scope="session")
def node_model() -> Callable[..., onnx.ModelProto]:
    """Builds a model of one node."""
    return _node_model


@pytest.fixture(scope="session")
def answers() -> Callable[[onnx.ModelProto, Mapping[str, Any]], list[Any]]:
    """Runs a model in ONNX Runtime."""
    return _answers
