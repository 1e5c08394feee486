"""Builds timm networks by name: the one place that calls `timm.create_model`."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import timm
import torch
from torch import nn

from cake_edge.errors import UsageMistake, near_names
from cake_edge.seeding import derive_seed

__all__ = ["build_network", "check_architecture", "parameter_count", "weights_digest"]

REFUSALS = (AssertionError, AttributeError, KeyError, RuntimeError, TypeError, ValueError)
"""What timm raises on arguments and tags that it does not know."""


def check_architecture(architecture: str) -> None:
    """Refuses a name that timm does not know.

    Raises:
        UsageMistake: with the nearest names.
    """
    name = architecture.partition(".")[0]
    if not timm.is_model(name):
        raise UsageMistake(
            f"timm has no architecture {architecture!r}{near_names(name, timm.list_models())}; "
            f"`python -c 'import timm; print(timm.list_models())'` lists all of them"
        )


def build_network(
    architecture: str,
    *,
    channels: int,
    classes: int,
    arguments: Mapping[str, Any] | None = None,
    seed: int = 0,
    pretrained: bool = False,
) -> nn.Module:
    """Creates a timm network with seeded random weights, or timm's own.

    The random state of the process is left as it was found: timm draws from the global
    generator, so it is forked and seeded around the call.

    Raises:
        UsageMistake: the name is unknown, or timm refuses the arguments.
    """
    check_architecture(architecture)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(seed, "weights", architecture))  # noqa: TID251
        try:
            network = timm.create_model(
                architecture,
                pretrained=pretrained,
                in_chans=channels,
                num_classes=classes,
                **dict(arguments or {}),
            )
        except REFUSALS as error:
            raise UsageMistake(
                f"timm cannot build {architecture!r} with {channels} channels, {classes} classes "
                f"and the arguments {dict(arguments or {})}: {error}"
            ) from error
    return network


def parameter_count(network: nn.Module) -> int:
    """Returns the number of trainable and frozen weights, buffers left out."""
    return sum(parameter.numel() for parameter in network.parameters())


def weights_digest(network: nn.Module) -> str:
    """Returns a SHA-256 over names, shapes and bytes of the whole state, on any device."""
    digest = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        array = tensor.detach().cpu().contiguous()
        digest.update(f"{name}|{tuple(array.shape)}|{array.dtype}|".encode())
        digest.update(array.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
