"""An ONNX classifier as a torch module: images in, one tensor out."""

from __future__ import annotations

from collections.abc import Sequence

import onnx
import torch

from cake_edge.errors import TeacherError
from cake_edge.onnx_network.graph import OnnxGraph
from cake_edge.onnx_network.node import Node, Value
from cake_edge.onnx_network.refusals import LARGEST_TENSOR

__all__ = ["OnnxNetwork", "network_from_onnx"]

LARGEST_PASS = 2**34
"""Values that all operators together give for one image; 64 GiB in float32."""


class OnnxNetwork(OnnxGraph):
    """A graph with one input and one output."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Returns the graph's output for images [N, C, H, W].

        Raises:
            TeacherError: the images do not fit the graph.
        """
        return self.run({self.inputs[0]: images})[self.outputs[0]]


def network_from_onnx(model: onnx.ModelProto, *, output: str | None = None) -> OnnxNetwork:
    """Returns an ONNX model as a differentiable torch module.

    Before anything of the size of an image is computed, the graph is gone through with shapes
    alone, if the model says how large its images are: what does not fit together, and what would
    not fit into memory, is found then.

    Args:
        model: read and checked, with its external data loaded.
        output: the value to give, where the model has several outputs.

    Raises:
        UnsupportedOnnx: it is quantized, or uses operators that are not known here.
        TeacherError: it has several inputs, or several outputs and none is named, or cannot be
            computed.
    """
    names = [port.name for port in model.graph.output]
    if output is None and len(names) != 1:
        raise TeacherError(
            f"the ONNX model has {len(names)} outputs ({', '.join(names)}); name the one that "
            "holds the logits"
        )
    network = OnnxNetwork(model, [names[0] if output is None else output])
    if len(network.inputs) != 1:
        raise TeacherError(
            f"the ONNX model has {len(network.inputs)} inputs ({', '.join(network.inputs)}); a "
            "classifier of images has one"
        )
    shape = _input_shape(model, network.inputs[0])
    if shape is not None:
        _foretell(network, shape)
    return network


def _input_shape(model: onnx.ModelProto, name: str) -> list[int] | None:
    """The shape of one image as a batch, or None if it is not said."""
    port = next(port for port in model.graph.input if port.name == name)
    dims = [dim.dim_value for dim in port.type.tensor_type.shape.dim]
    # PaddlePaddle writes -1 for a free batch, where ONNX wants a name or nothing.
    return [max(dims[0], 1), *dims[1:]] if dims and all(size > 0 for size in dims[1:]) else None


def _foretell(network: OnnxNetwork, shape: list[int]) -> None:
    """Goes through the graph with shapes alone."""
    total = 0

    def count(node: Node, results: Sequence[Value]) -> None:
        nonlocal total
        sizes = [value.numel() for value in results if isinstance(value, torch.Tensor)]
        total += sum(sizes)
        if max(sizes, default=0) > LARGEST_TENSOR or total > LARGEST_PASS:
            raise TeacherError(
                f"the ONNX model needs too much memory: with {node} it comes to {total} values "
                f"for one image, of them {max(sizes)} in one tensor; at most {LARGEST_PASS} and "
                f"{LARGEST_TENSOR} are computed here"
            )

    network.foretell({network.inputs[0]: torch.empty(shape, device="meta")}, count)
