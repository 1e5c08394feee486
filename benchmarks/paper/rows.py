"""The rows: what was published, and with which settings it is measured here.

Nothing in a setting was chosen for one row: all rows have those of the samplers' and the training's
defaults, but for how long they run, which says what is affordable on the machine named, and for
what a pixel is stored as where images are large.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import torch

import benchmarks.paper.networks  # noqa: F401  # tells timm their names
from cake_edge.distill_config import DISTILL_PRESETS, DistillConfig
from cake_edge.samplers import CakeConfig, SamplerConfig

__all__ = ["A_CUDA_DEVICE", "FAMILIES", "ROWS", "Network", "Published", "Row"]

A_CUDA_DEVICE = "a CUDA device"
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

    dataset: Literal["fashion-mnist", "cifar10", "imagenet"]
    teacher: Network
    student: Network
    published: tuple[Published, ...]
    images: int
    """In the pool."""
    sampler: SamplerConfig
    training: DistillConfig
    goal: str
    """What would be good, in words."""
    origin: Literal["trained", "vendor"] = "trained"
    """Whether the teacher is trained here, on the real training images, for every seed another, or
    is a vendor's."""
    device: Literal["cpu", "cuda"] = "cpu"
    """Where teacher and student compute."""

    @property
    def needs(self) -> str | None:
        """The device that this row needs and this machine lacks; None where it lacks none."""
        missing = self.device == "cuda" and not torch.cuda.is_available()
        return A_CUDA_DEVICE if missing else None


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

LENGTHS, POOLS = {"mlp": 9_000}, {"mlp": 96_000}
"""Student's family -> steps, and images, of the small rows, where there are more: an MLP's are the
cheapest, and it has to be shown what others know of neighbouring pixels."""

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
    origin="vendor",
    teacher=Network(name="cake_resnet20"),
    student=Network(name="cake_resnet20", arguments={"width": 8}),
    published=(),
    images=48_000,
    sampler=CakeConfig(),
    training=replace(DISTILL_PRESETS["cake"], steps=7_000, match=False),
    goal="agreement of 70 % or more with the teacher within two hours of two CPU cores",
)

# What an H200 makes of these two is not known, so that they are sized for a tenth of what it does
# of matrix products: 2e13 multiply-adds a second of plain convolutions, and a tenth of that again
# of depthwise ones, which wait for memory. A pass forward and back to the image counts twice, a
# step of the student's three times.
#
# ResNet-34 is 1.16e9 multiply-adds an image of 32 pixels, ResNet-18 0.56e9. Pool: (2 * 120 000
# image-steps + 255 000 looks) * 1.16e9 / 2e13 = 29 s, and the drawing. Training: 10 000 * 256
# * (1.16e9 + 3 * 0.56e9) / 2e13 = 364 s. The teacher, once: 24 * 50 000 * 3 * 1.16e9 / 2e13
# = 209 s.
RESNET34 = Row(
    dataset="cifar10",
    device="cuda",
    teacher=Network(name="cake_cifar_resnet34"),
    student=Network(name="cake_cifar_resnet18"),
    published=(
        Published(method="CAKE", student=78.9, deviation=2.59, teacher=91.8),
        Published(method="DeepInversion", student=91.4, teacher=95.4),
        Published(method="adaptive DeepInversion", student=93.3, teacher=95.4),
        Published(method="distillation with the data", student=94.3, teacher=95.6),
    ),
    images=48_000,
    sampler=CakeConfig(),
    training=replace(DISTILL_PRESETS["cake"], steps=10_000, precision="bfloat16", match=False),
    goal="96 % or more of the teacher's top-1, without BatchNorm terms",
)
# Lite0 is 0.39e9 multiply-adds an image of 224 pixels, the student 0.10e9. Pool: (2 * 60 000
# image-steps + 127 500 looks) * 0.39e9 / 2e12 = 48 s, and the drawing. Training: 4 000 * 256
# * (0.39e9 + 3 * 0.10e9) / 2e12 = 353 s. In 8 bits the pool takes 24 000 * 155 kB = 3.7 GB.
LITE0 = Row(
    dataset="imagenet",
    origin="vendor",
    device="cuda",
    teacher=Network(name="tf_efficientnet_lite0"),
    student=Network(name="mobilenetv2_050"),
    published=(),
    images=24_000,
    sampler=CakeConfig(stored="uint8"),
    training=replace(DISTILL_PRESETS["cake"], steps=4_000, precision="bfloat16"),
    goal="what a student of at most two million weights reaches, and its cost",
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
            images=POOLS.get(student, 24_000),
            sampler=CakeConfig(),
            training=replace(
                DISTILL_PRESETS["cake"], steps=LENGTHS.get(student, 3_000), precision="bfloat16"
            ),
            goal="84 % or more" if teacher == student else "70 % or more",
        )
        for teacher in FAMILIES
        for student in FAMILIES
    }


PAIRS = _across()
ROWS: dict[str, Row] = {
    "fashion-mnist-lenet5": LENET,
    # What more of the same brings.
    "fashion-mnist-lenet5-long": replace(
        LENET, images=96_000, training=replace(LENET.training, steps=50_000)
    ),
    # What it brings to draw views from even classes, of a pool whose classes are nearly even.
    "fashion-mnist-lenet5-unbalanced": replace(
        LENET, training=replace(LENET.training, balance=False)
    ),
    "cifar10-resnet20": RESNET20,
    # What batch norms remember, in how often an image is shown, and in how it is pushed as well.
    "cifar10-resnet20-matched": replace(RESNET20, training=replace(RESNET20.training, match=True)),
    "cifar10-resnet20-statistics": replace(
        RESNET20,
        sampler=CakeConfig(statistics=1.0),
        training=replace(RESNET20.training, match=True),
    ),
    **PAIRS,
    # What it costs not to look at what the teacher's batch norms remember.
    **{
        f"{name}-unmatched": replace(
            PAIRS[name], training=replace(PAIRS[name].training, match=False)
        )
        for name in ("fashion-mnist-resnet-mlp", "fashion-mnist-resnet-cnn")
    },
    # What a quarter of the images costs.
    "fashion-mnist-cnn-mlp-few": replace(PAIRS["fashion-mnist-cnn-mlp"], images=24_000),
    "cifar10-resnet34": RESNET34,
    "imagenet-lite0": LITE0,
}
