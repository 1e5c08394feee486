"""A fine-tuned network in one safetensors file, its weights as the whole numbers they are.

The header's `cake_edge_qat` entry is a JSON object with `architecture`, `arguments` (of timm),
`spec` and `manifest`, whose `config` says how the network is to be converted before it is filled.
"""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import nn

from cake_edge.checkpoint import Checkpoint, build_described, read_header, write_tensors
from cake_edge.errors import ArtifactError, UsageMistake
from cake_edge.qat.config import QatConfig
from cake_edge.qat.convert import fake_quantized, quantized_layers, weight_quantizer
from cake_edge.settings import settings_from_dict

__all__ = ["load_qat", "read_qat_header", "save_qat"]

KEY = "cake_edge_qat"
ORIGINAL = "parametrizations.weight.original"


def save_qat(path: Path, network: nn.Module, about: Checkpoint) -> None:
    """Writes a fake-quantized network, atomically: weights as int8, all else as float32.

    Args:
        about: its manifest has the `config` of the conversion.
    """
    state = {name: t.detach().to("cpu", copy=True) for name, t in network.state_dict().items()}
    for name, layer in quantized_layers(network):
        original = layer.parametrizations["weight"].original
        state[f"{name}.{ORIGINAL}"] = weight_quantizer(layer).whole(original).cpu()
    write_tensors(path, state, about, key=KEY)


def read_qat_header(path: Path) -> Checkpoint:
    """Returns what the file says of itself.

    Raises:
        ArtifactError: it is missing, no safetensors file, or not one of qat.
    """
    about = read_header(path, key=KEY)
    if about is None:
        raise ArtifactError(f"{path} is not a fake-quantized network; name a file that qat wrote")
    return about


def load_qat(path: Path) -> tuple[nn.Module, Checkpoint]:
    """Returns the fake-quantized network in eval mode, on the CPU, and its header.

    Raises:
        ArtifactError: the file is not one of qat, or its tensors do not fit its header.
    """
    about = read_qat_header(path)
    try:
        config = settings_from_dict(QatConfig, about.manifest["config"], "config")
        network = _empty(path, about, config)
    except (AttributeError, KeyError, RuntimeError, TypeError, ValueError, UsageMistake) as error:
        raise ArtifactError(f"the network that {path} names cannot be built: {error}") from error
    state = load_file(path)
    try:
        for name, _ in quantized_layers(network):
            _widen(state, name)
        network.load_state_dict(state)
    except (KeyError, RuntimeError) as error:
        fault = (str(error).splitlines() or [""])[-1].strip()
        raise ArtifactError(
            f"the tensors in {path} do not fit {about.architecture}, which its header names: "
            f"{fault} Make the file again"
        ) from error
    return network.eval().requires_grad_(False), about


def _empty(path: Path, about: Checkpoint, config: QatConfig) -> nn.Module:
    spec = about.spec
    network = build_described(path, about)
    random = torch.Generator().manual_seed(0)
    return fake_quantized(
        network.eval(),
        torch.randn((2, *spec.input_size), generator=random),
        weight_bits=config.weight_bits,
        activation_bits=config.activation_bits,
        edge_bits=config.edge_bits,
    ).network


def _widen(state: dict[str, torch.Tensor], name: str) -> None:
    whole = state[f"{name}.{ORIGINAL}"].float()
    step = state[f"{name}.parametrizations.weight.0.step"]
    state[f"{name}.{ORIGINAL}"] = whole * step.view(-1, *(1,) * (whole.ndim - 1))
