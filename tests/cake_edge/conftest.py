"""Small teachers, built in a moment and never trained."""

from __future__ import annotations

import pytest
from torch import nn

from cake_edge import diagnostics
from cake_edge.networks import build_network
from cake_edge.spec import ImageSpec
from cake_edge.teachers.frozen import FrozenTeacher

SPEC = ImageSpec(channels=1, height=16, width=16, mean=(0.4,), std=(0.3,), classes=4)


class Plain(nn.Module):
    """A convolution, a pool and a head: no normalisation anywhere."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.stem = nn.Conv2d(channels, 8, 3, stride=2, padding=1)
        self.head = nn.Linear(8, classes)

    def forward(self, images):
        return self.head(self.stem(images).relu().mean((2, 3)))


@pytest.fixture(scope="session", autouse=True)
def few_held_out_images():
    """A student is compared with its teacher on fewer images: drawing them takes seconds a test."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(diagnostics, "MANY", 192)
        patch.setattr(diagnostics, "FEW", 64)
        yield


@pytest.fixture(scope="session")
def small_spec() -> ImageSpec:
    return SPEC


@pytest.fixture(scope="session")
def make_teacher():
    """Builds a frozen teacher: `make_teacher("test_resnet", seed=0, spec=…)` or "plain"."""

    def make(architecture: str = "test_resnet", seed: int = 0, spec: ImageSpec = SPEC):
        if architecture == "plain":
            import torch

            with torch.random.fork_rng(devices=[]):
                torch.default_generator.manual_seed(seed)
                network: nn.Module = Plain(spec.channels, spec.classes)
        else:
            arguments = {"img_size": spec.height} if "vit" in architecture else {}
            network = build_network(
                architecture,
                channels=spec.channels,
                classes=spec.classes,
                seed=seed,
                arguments=arguments,
            )
        return FrozenTeacher(network, spec, architecture=architecture)

    return make
