"""The rows: what was published, and with which settings it is measured here.

Nothing in a setting was chosen for one row: all rows have those of the samplers' and the training's
defaults, but for how long they run, which says what is affordable on the machine named.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import benchmarks.paper.networks  # noqa: F401  # tells timm their names
from cake_edge.distill_config import DISTILL_PRESETS, DistillConfig
from cake_edge.samplers import CakeConfig, SamplerConfig

__all__ = ["FAMILIES", "ROWS", "Network", "Published", "Row"]

PAPER = "CAKE, arXiv 2306.02090, table of the AISTATS 2024 poster"


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """A figure of somebody else's."""

    method: str
    student: float
    """Top-1 in percent."""
    deviation: float | None = None
    teacher: float | None = None
    """Top-1 of the teacher of that row, which is not the one measured here."""
    source: str = PAPER


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """An architecture that timm knows, or that `benchmarks.paper.networks` tells it."""

    name: str
    arguments: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One teacher, one student, and how the one becomes the other."""

    dataset: Literal["fashion-mnist", "cifar10"]
    teacher: Network
    student: Network
    published: tuple[Published, ...]
    images: int
    """In the pool."""
    sampler: SamplerConfig
    training: DistillConfig
    goal: str
    """What would be good, in words."""
    needs: str | None = None
    """What this row needs beyond a CPU; None where it needs nothing."""


FAMILIES: dict[str, tuple[Network, Network]] = {
    "mlp": (Network(name="cake_mlp"), Network(name="cake_mlp", arguments={"width": 128})),
    "cnn": (Network(name="cake_cnn"), Network(name="cake_cnn", arguments={"width": 8})),
    "resnet": (
        Network(name="cake_small_resnet"),
        Network(name="cake_small_resnet", arguments={"width": 8}),
    ),
    "vit": (Network(name="cake_small_vit"), Network(name="cake_small_vit", arguments={"depth": 2})),
}
"""Family -> (teacher, student)."""

POSTER_MNIST: dict[tuple[str, str], float] = {
    ("mlp", "mlp"): 98.1, ("mlp", "cnn"): 90.7, ("mlp", "resnet"): 94.0, ("mlp", "vit"): 17.3,
    ("cnn", "mlp"): 63.7, ("cnn", "cnn"): 98.8, ("cnn", "resnet"): 77.2, ("cnn", "vit"): 12.2,
    ("resnet", "mlp"): 48.5, ("resnet", "cnn"): 21.1, ("resnet", "resnet"): 93.9,
    ("resnet", "vit"): 11.4,
    ("vit", "mlp"): 64.6, ("vit", "cnn"): 42.1, ("vit", "resnet"): 81.5, ("vit", "vit"): 97.2,
}  # fmt: skip
"""Measured from the poster's bars, on MNIST, which is easier than Fashion-MNIST."""

LENET = Row(
    dataset="fashion-mnist",
    teacher=Network(name="cake_lenet5"),
    student=Network(name="cake_lenet5", arguments={"divisor": 2}),
    published=(
        Published(method="CAKE", student=76.5, deviation=1.0, teacher=91.0),
        Published(method="ZSDB3KD", student=72.3, teacher=91.6),
        Published(method="distillation with the data", student=89.7, teacher=90.8),
    ),
    images=48_000,
    sampler=CakeConfig(),
    training=replace(DISTILL_PRESETS["cake"], steps=14_000),
    goal="87 % or more within 30 minutes of two CPU cores",
)
RESNET20 = Row(
    dataset="cifar10",
    teacher=Network(name="cake_resnet20"),
    student=Network(name="cake_resnet20", arguments={"width": 8}),
    published=(),
    images=48_000,
    sampler=CakeConfig(),
    training=replace(DISTILL_PRESETS["cake"], steps=7_000, precision="bfloat16"),
    goal="agreement of 70 % or more with the teacher within two hours of two CPU cores",
)


def _across() -> dict[str, Row]:
    """Every family as the teacher of every family, small."""
    return {
        f"fashion-mnist-{teacher}-{student}": Row(
            dataset="fashion-mnist",
            teacher=FAMILIES[teacher][0],
            student=FAMILIES[student][1],
            published=(
                Published(
                    method="CAKE, on MNIST",
                    student=POSTER_MNIST[teacher, student],
                    source=f"{PAPER}, bars measured",
                ),
            ),
            images=24_000,
            sampler=CakeConfig(),
            training=replace(DISTILL_PRESETS["cake"], steps=3_000, precision="bfloat16"),
            goal="84 % or more" if teacher == student else "70 % or more",
        )
        for teacher in FAMILIES
        for student in FAMILIES
    }


ROWS: dict[str, Row] = {
    "fashion-mnist-lenet5": LENET,
    "cifar10-resnet20": RESNET20,
    "cifar10-resnet20-statistics": replace(RESNET20, sampler=CakeConfig(statistics=1.0)),
    **_across(),
}
