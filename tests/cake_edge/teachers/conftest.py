"""Small networks and the files they are kept in."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from cake_edge.networks import build_network


@pytest.fixture(scope="session")
def small() -> nn.Module:
    """A test_resnet of timm for ten classes of grey images."""
    return build_network("test_resnet", channels=1, classes=10, seed=3).eval()


@pytest.fixture
def weights(tmp_path: Path, small: nn.Module) -> Path:
    """The plain state of `small`, in a PyTorch file."""
    path = tmp_path / "small.pth"
    torch.save(small.state_dict(), path)
    return path


@pytest.fixture
def write_onnx(tmp_path: Path) -> Callable[..., Path]:
    """Writes a small classifier as ONNX: `write_onnx(tail=[node, …], batch=1, metadata={…}, …)`.

    Its logits are called "z", and the nodes of `tail`, if any, make "answer" of them. `channels`
    are the axes of the input after the batch, None a free one; `last` puts channels last.
    """

    def write(
        *,
        tail: Sequence[onnx.NodeProto] = (),
        batch: int | str = "N",
        channels: Sequence[int | str | None] = (3, 16, 16),
        last: bool = False,
        classes: int = 4,
        answer: Sequence[int | str | None] | None = None,
        kind: int = TensorProto.FLOAT,
        gain: float = 4.0,
        opset: int = 17,
        metadata: Mapping[str, str] | None = None,
        name: str = "vendor.onnx",
    ) -> Path:
        random = np.random.default_rng(1)
        given, dtype = channels[0], helper.tensor_dtype_to_np_dtype(kind)
        width = given if isinstance(given, int) else 3
        weights = {
            "w": random.standard_normal((8, width, 3, 3)),
            "b": random.standard_normal(8),
            "h": random.standard_normal((8, classes)) * gain,
        }
        shape = [batch, *channels] if not last else [batch, *channels[1:], channels[0]]
        nodes = [
            helper.make_node("Conv", ["x", "w", "b"], ["c"], strides=[2, 2], pads=[1] * 4),
            helper.make_node("Relu", ["c"], ["r"]),
            helper.make_node("GlobalAveragePool", ["r"], ["p"]),
            helper.make_node("Flatten", ["p"], ["f"]),
            helper.make_node("MatMul", ["f", "h"], ["z"]),
        ]
        if last:
            nodes[0].input[0] = "t"
            nodes.insert(0, helper.make_node("Transpose", ["x"], ["t"], perm=[0, 3, 1, 2]))
        output = "answer" if tail else "z"
        graph = helper.make_graph(
            [*nodes, *tail],
            "classifier",
            [helper.make_tensor_value_info("x", kind, shape)],
            [helper.make_tensor_value_info(output, kind, answer or [batch, classes])],
            [numpy_helper.from_array(v.astype(dtype), n) for n, v in weights.items()],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
        model.ir_version = 8
        for key, value in (metadata or {}).items():
            entry = model.metadata_props.add()
            entry.key, entry.value = key, value
        onnx.save(model, tmp_path / name)
        return tmp_path / name

    return write
