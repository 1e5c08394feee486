"""ONNX classifiers of 3 x 8 x 8 pixels, well-formed all, of which some are the end of a process."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper

__all__ = ["CRASHES_ON_THE_WAY_IN", "healthy", "hog", "sleeper"]

CRASHES_ON_THE_WAY_IN = """\
import ctypes
import onnxruntime

opens = onnxruntime.InferenceSession

def session(path, *rest, **more):
    if str(path).endswith("crash.onnx"):
        ctypes.string_at(0)
    return opens(path, *rest, **more)

onnxruntime.InferenceSession = session
"""
"""A sitecustomize.py with which opening a file of that name reads address 0, in native code."""


def healthy(path: Path, batch: int | str = "batch") -> Path:
    """A mean over pixels and a product; a number fixes the batch."""
    return _save(path, [helper.make_node("Identity", ["input"], ["features"])], {}, batch)


def sleeper(path: Path) -> Path:
    """Goes round a loop 2^60 times before it answers."""
    values = [helper.make_tensor_value_info("x", TensorProto.FLOAT, None)]
    answer = [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)]
    number = helper.make_tensor_value_info("i", TensorProto.INT64, [])
    go_on = [helper.make_tensor_value_info(name, TensorProto.BOOL, []) for name in ("c", "d")]
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["c"], ["d"]),
            helper.make_node("Identity", ["x"], ["y"]),
        ],
        "round",
        [number, go_on[0], *values],
        [go_on[1], *answer],
    )
    loop = helper.make_node("Loop", ["times", "yes", "input"], ["features"], body=body)
    return _save(path, [loop], {"times": np.array(1 << 60), "yes": np.array(True)})


def hog(path: Path) -> Path:
    """Writes each image down four thousand million times: three terabytes."""
    nodes = [
        helper.make_node("Expand", ["input", "shape"], ["many"]),
        helper.make_node("ReduceMax", ["many"], ["features"], axes=[0], keepdims=0),
    ]
    return _save(path, nodes, {"shape": np.array([1 << 32, 1, 3, 8, 8])})


def _save(
    path: Path,
    nodes: Sequence[NodeProto],
    constants: dict[str, np.ndarray],
    batch: int | str = "batch",
) -> Path:
    """Writes nodes from `input` to `features`, with a head behind them."""
    weights = np.ones((3, 4), np.float32)
    graph = helper.make_graph(
        [
            *nodes,
            helper.make_node("GlobalAveragePool", ["features"], ["mean"]),
            helper.make_node("Flatten", ["mean"], ["flat"]),
            helper.make_node("MatMul", ["flat", "weights"], ["logits"]),
        ],
        "classifier",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, [batch, 3, 8, 8])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [batch, 4])],
        [
            numpy_helper.from_array(value, name)
            for name, value in {**constants, "weights": weights}.items()
        ],
    )
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path
    )
    return path
