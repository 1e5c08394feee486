"""A small classifier with batch norms, and one that has learned something."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.nn import functional

from cake_edge.networks import build_network
from cake_edge.pool import Pool, synthesize
from cake_edge.priors import shapes
from cake_edge.samplers import SAMPLERS
from cake_edge.seeding import generator
from cake_edge.spec import ImageSpec
from cake_edge.teachers.frozen import FrozenTeacher

SPEC = ImageSpec(channels=1, height=16, width=16, mean=(0.5,), std=(0.25,), classes=4)


@pytest.fixture(scope="session")
def spec() -> ImageSpec:
    return SPEC


@pytest.fixture(scope="session")
def build() -> Callable[[str], nn.Module]:
    """A network of timm with random weights and batch norms that remember something."""

    def build(name: str, classes: int = 5, size: int = 32) -> nn.Module:
        arguments = {"img_size": size} if "vit" in name else {}
        network = build_network(name, channels=3, classes=classes, arguments=arguments, seed=3)
        random = generator(0, "norms")
        for module in network.modules():
            if isinstance(getattr(module, "running_var", None), torch.Tensor):
                module.running_mean.normal_(0, 0.2, generator=random)
                module.weight.data.uniform_(0.5, 1.5, generator=random)
                module.running_var.uniform_(0.5, 1.5, generator=random)
        return network.eval()

    return build


@pytest.fixture(scope="session")
def tiny_teacher() -> FrozenTeacher:
    """Tells apart in which quarter of a synthetic image the mean is highest."""
    network = nn.Sequential(
        nn.Conv2d(1, 12, 3, padding=1, bias=False),
        nn.BatchNorm2d(12),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(12, 16, 3, padding=1, bias=False),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(4),
        nn.Conv2d(16, 16, 3, padding=1, bias=False),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(256, 4),
    )
    random = generator(5, "tiny")
    for name, parameter in network.named_parameters():
        if parameter.ndim > 1:
            bound = parameter[0].numel() ** -0.5
            nn.init.uniform_(parameter, -1.7 * bound, 1.7 * bound, generator=random)
        elif name.endswith("bias"):
            # Torch drew it from its global generator.
            nn.init.zeros_(parameter)
    optimiser = torch.optim.Adam(network.parameters(), lr=5e-3)
    for _ in range(60):
        images = shapes(64, SPEC, random)
        labels = functional.adaptive_avg_pool2d(images, 2).flatten(1).argmax(1)
        loss = functional.cross_entropy(network(images), labels)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return FrozenTeacher(network, SPEC, architecture="tiny")


@pytest.fixture(scope="session")
def tiny_pool(tiny_teacher: FrozenTeacher, tmp_path_factory: pytest.TempPathFactory) -> Pool:
    config = SAMPLERS["cake"](images_per_shard=128, steps=1, oversample=1)
    return synthesize(
        tiny_teacher, config, tmp_path_factory.mktemp("pool") / "p", count=256, seed=1
    )
