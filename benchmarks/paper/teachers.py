"""Teachers of the published rows: trained on real images, stored, and frozen."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from torch.nn import functional

from benchmarks.paper import networks
from benchmarks.paper.data import CIFAR10, FASHION_MNIST, VENDOR, training_set
from benchmarks.train_fashion_mnist_teacher import augment
from cake_edge.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from cake_edge.networks import build_network
from cake_edge.seeding import generator
from cake_edge.teachers.frozen import FrozenTeacher
from cake_edge.teachers.weights_file import read_state

__all__ = ["EPOCHS", "fashion_mnist_teacher", "resnet20_teacher"]

EPOCHS = 24
BATCH, PEAK, DECAY = 256, 3e-3, 0.02


def fashion_mnist_teacher(
    architecture: str, arguments: Mapping[str, Any], path: Path, *, seed: int = 0
) -> FrozenTeacher:
    """Returns the teacher stored at `path`, trained first where it is not there."""
    if not path.exists():
        network, seconds = _train(architecture, arguments, seed)
        about = Checkpoint(
            architecture=architecture,
            arguments=dict(arguments),
            spec=FASHION_MNIST,
            manifest={"epochs": EPOCHS, "seed": seed, "seconds": round(seconds)},
        )
        save_checkpoint(path, network, about, half=True)
    network, about = load_checkpoint(path)
    return FrozenTeacher(network, about.spec, architecture=architecture)


def resnet20_teacher() -> FrozenTeacher:
    """Returns the vendor's CIFAR-10 ResNet-20."""
    network = networks.ResNet20()
    network.load_state_dict(read_state(VENDOR))
    return FrozenTeacher(network, CIFAR10, architecture="cake_resnet20")


def _train(
    architecture: str, arguments: Mapping[str, Any], seed: int
) -> tuple[torch.nn.Module, float]:
    """AdamW under a one-cycle schedule, flips and shifts; the last weights."""
    started = time.monotonic()
    pixels, classes = training_set()
    images = torch.from_numpy(
        FASHION_MNIST.normalise(pixels.transpose(0, 3, 1, 2) / np.float32(255))
    )
    labels = torch.from_numpy(classes.astype(np.int64))
    network = build_network(
        architecture, channels=1, classes=10, arguments=arguments, seed=seed
    ).to(memory_format=torch.channels_last)
    optimiser = torch.optim.AdamW(network.parameters(), lr=PEAK, weight_decay=DECAY)
    steps = EPOCHS * (len(images) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, PEAK, total_steps=steps)
    network.train()
    for epoch in range(EPOCHS):
        random = generator(seed, "teacher", epoch)
        order = torch.randperm(len(images), generator=random)
        for chunk in order[: len(images) // BATCH * BATCH].split(BATCH):
            logits = network(augment(images[chunk], random))
            loss = functional.cross_entropy(logits, labels[chunk])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
        click.echo(f"{architecture} epoch {epoch} loss {float(loss.detach()):.3f}", err=True)
    return network.eval(), time.monotonic() - started
