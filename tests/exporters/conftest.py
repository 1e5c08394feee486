"""A small network exported once, and images for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch

from cake_edge.networks import build_network
from cake_edge.spec import ImageSpec
from exporters.artifact import ModelCard
from exporters.onnx_export import export_onnx

Images = npt.NDArray[np.float32]


@pytest.fixture(scope="session")
def spec() -> ImageSpec:
    """Four classes of one channel and 20 x 20 pixels."""
    return ImageSpec(channels=1, height=20, width=20, mean=(0.5,), std=(0.25,), classes=4)


@pytest.fixture(scope="session")
def network(spec: ImageSpec) -> torch.nn.Module:
    """A residual network with random weights whose BatchNorm has seen images."""
    network = build_network(
        "resnet10t",
        channels=spec.channels,
        classes=spec.classes,
        arguments={"channels": [16, 16, 32, 32], "stem_width": 16},
        seed=3,
    )
    random = torch.Generator().manual_seed(0)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = None
            torch.nn.init.uniform_(module.weight, 0.5, 1.5, generator=random)
            torch.nn.init.normal_(module.bias, 0, 0.2, generator=random)
    with torch.no_grad():
        network.train()(torch.randn(64, *spec.input_size, generator=random))
    return network.eval()


@pytest.fixture(scope="session")
def card(spec: ImageSpec) -> ModelCard:
    """The card of `network`."""
    return ModelCard(
        architecture="resnet10t",
        spec=spec,
        role="student",
        parent="ab" * 32,
        parameters=12,
        manifest={"seed": 3},
    )


@pytest.fixture(scope="session")
def float_file(
    network: torch.nn.Module, card: ModelCard, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """`network` as ONNX."""
    path = tmp_path_factory.mktemp("float") / "student.onnx"
    export_onnx(network, path, card)
    return path


@pytest.fixture(scope="session")
def images(spec: ImageSpec) -> Callable[[], Iterator[Images]]:
    """Gives the same 64 images of random squares each time, in two arrays."""

    def source() -> Iterator[Images]:
        random = np.random.default_rng(0)
        for count in (40, 24):
            squares = random.standard_normal((count, 1, 5, 5)).astype(np.float32)
            yield np.kron(squares, np.ones((1, 1, 4, 4), np.float32))

    return source
