"""Students: timm networks of a size that suits the teacher's images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from cake_edge.networks import build_network
from cake_edge.spec import ImageSpec

__all__ = ["STUDENTS", "StudentConfig", "build_student"]


@dataclass(frozen=True, slots=True, kw_only=True)
class StudentConfig:
    """Which network is trained."""

    name: str = "small-resnet"
    """A name of `STUDENTS`, or any timm architecture."""
    arguments: Mapping[str, Any] = field(default_factory=dict)
    """Keyword arguments of `timm.create_model`, over those of the preset."""


STUDENTS: dict[str, tuple[str, dict[str, Any]]] = {
    "tiny-resnet": ("resnet10t", {"channels": [8, 16, 32, 64], "stem_width": 8}),
    "small-resnet": ("resnet10t", {"channels": [12, 24, 48, 96], "stem_width": 8}),
    "medium-resnet": ("resnet10t", {"channels": [24, 48, 96, 192], "stem_width": 16}),
    "small-mobile": ("mobilenetv3_small_050", {}),
}
"""Preset -> (timm architecture, its arguments)."""


def build_student(
    config: StudentConfig, spec: ImageSpec, *, seed: int
) -> tuple[nn.Module, str, dict[str, Any]]:
    """Returns (network with seeded weights, timm's name, its arguments).

    Raises:
        UsageMistake: timm does not know the name, or refuses the arguments.
    """
    architecture, preset = STUDENTS.get(config.name, (config.name, {}))
    arguments = {**preset, **config.arguments}
    network = build_network(
        architecture,
        channels=spec.channels,
        classes=spec.classes,
        arguments=arguments,
        seed=seed,
    )
    return network, architecture, arguments
