"""ONNX graphs as torch modules through which gradients flow."""

from __future__ import annotations

from cake_edge.onnx_network.graph import OnnxGraph
from cake_edge.onnx_network.network import OnnxNetwork, network_from_onnx
from cake_edge.onnx_network.refusals import UnsupportedOnnx

__all__ = ["OnnxGraph", "OnnxNetwork", "UnsupportedOnnx", "network_from_onnx"]
