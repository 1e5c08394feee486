from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from timm.layers import BatchNormAct2d, EvoNorm2dS0, FrozenBatchNormAct2d, LayerNorm2d
from torch import nn

from cake_edge.networks import build_network
from cake_edge.spec import ImageSpec
from cake_edge.teachers import TeacherConfig, load_teacher
from cake_edge.teachers.adapters import FixedBatch
from cake_edge.teachers.anatomy import input_gradient, multiply_adds, norm_layers
from cake_edge.teachers.frozen import FrozenTeacher

SPEC = ImageSpec(channels=3, height=32, width=32, mean=(0.5,) * 3, std=(0.5,) * 3, classes=5)
SAID: dict[str, Any] = {"input_size": (3, 32, 32), "preset": "inception"}


class Layers(nn.Module):
    """The given layers after a convolution of 4 channels."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), *layers)
        self.head = nn.Linear(4, 5)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.head(self.body(images).mean((2, 3)))
        return logits


def teacher_of(network: nn.Module) -> FrozenTeacher:
    return FrozenTeacher(network, SPEC, architecture="x")


MACS = 32 * 32 * 4 * 3 * 9 + 4 * 5


def test_multiply_adds_are_those_of_one_image() -> None:
    assert multiply_adds(teacher_of(Layers())) == MACS
    assert multiply_adds(teacher_of(FixedBatch(Layers(), 4))) == MACS


def test_what_the_counter_does_not_know_is_not_counted() -> None:
    class Means(nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return images.mean((2, 3)).repeat(1, 2)[:, :5]

    assert multiply_adds(teacher_of(Means())) is None


@pytest.mark.parametrize(
    ("layer", "kind", "statistics"),
    [
        (nn.BatchNorm2d(4), "BatchNorm2d", True),
        (nn.BatchNorm2d(4, track_running_stats=False), "BatchNorm2d", False),
        (BatchNormAct2d(4), "BatchNormAct2d", True),
        (FrozenBatchNormAct2d(4), "FrozenBatchNormAct2d", True),
        (EvoNorm2dS0(4, groups=2), "EvoNorm2dS0", False),
        (LayerNorm2d(4), "LayerNorm2d", False),
        (nn.GroupNorm(2, 4), "GroupNorm", False),
        (nn.InstanceNorm2d(4), "InstanceNorm2d", False),
    ],
)
def test_normalisation_layers_are_told_by_kind(
    layer: nn.Module, kind: str, statistics: bool
) -> None:
    (norm,) = norm_layers(teacher_of(Layers(layer)))
    assert (norm.kind, norm.count, norm.running_statistics) == (kind, 1, statistics)


def test_kinds_are_counted_the_most_frequent_first() -> None:
    found = norm_layers(teacher_of(Layers(nn.GroupNorm(2, 4), nn.BatchNorm2d(4), LayerNorm2d(4),
                                          nn.BatchNorm2d(4))))  # fmt: skip
    assert (found[0].kind, found[0].count) == ("BatchNorm2d", 2)
    assert len(found) == 3
    assert norm_layers(teacher_of(Layers(nn.ReLU()))) == ()


@pytest.fixture(scope="module")
def network() -> nn.Module:
    return build_network("test_resnet", channels=3, classes=5, seed=1).eval()


def by_onnx(network: nn.Module, folder: Path) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch would rather be asked for its new exporter
        torch.onnx.export(
            network, (torch.zeros(2, 3, 32, 32),), str(folder / "x.onnx"), dynamo=False,
            input_names=["images"], dynamic_axes={"images": {0: "n"}},
        )  # fmt: skip
    return folder / "x.onnx"


def by_export(network: nn.Module, folder: Path) -> Path:
    batch = torch.export.Dim("batch", min=1, max=64)
    program = torch.export.export(
        network, (torch.zeros(2, 3, 32, 32),), dynamic_shapes=({0: batch},)
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that weights may lie elsewhere than on the CPU
        torch.export.save(program, folder / "x.pt2")
    return folder / "x.pt2"


@pytest.mark.parametrize("write", [by_onnx, by_export])
def test_every_door_shows_the_same_work(
    network: nn.Module, tmp_path: Path, write: Callable[[nn.Module, Path], Path]
) -> None:
    path = write(network, tmp_path)
    config = TeacherConfig(reference=str(path), **SAID)
    teacher = load_teacher(config, device=torch.device("cpu"))
    direct = teacher_of(network)
    assert multiply_adds(teacher) == multiply_adds(direct)
    assert input_gradient(teacher).share == pytest.approx(input_gradient(direct).share, abs=0.01)


def test_a_network_out_of_a_graph_shows_what_its_operators_compute(
    network: nn.Module, tmp_path: Path
) -> None:
    path = by_export(network, tmp_path)
    config = TeacherConfig(reference=str(path), **SAID)
    (norm,) = norm_layers(load_teacher(config, device=torch.device("cpu")))
    assert (norm.kind, norm.running_statistics) == ("BatchNorm", True)
    assert norm.count == sum(isinstance(m, nn.BatchNorm2d) for m in network.modules())


def test_gradients_that_flow_reach_every_image(network: nn.Module) -> None:
    found = input_gradient(teacher_of(network))
    assert found.reached == found.images
    assert found.share > 0.9
    assert found.finite


def test_a_network_that_rounds_lets_none_through() -> None:
    class Rounds(nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return images.round().mean((2, 3)).repeat(1, 2)[:, :5]

    class Detaches(nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return images.detach().mean((2, 3)).repeat(1, 2)[:, :5]

    for network in (Rounds(), Detaches()):
        found = input_gradient(teacher_of(network))
        assert (found.reached, found.share) == (0, 0)


def test_a_network_that_looks_at_a_part_is_seen_by_its_share() -> None:
    class Corner(nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return images[:, :, :8, :8].mean((2, 3)).repeat(1, 2)[:, :5]

    assert input_gradient(teacher_of(Corner())).share == pytest.approx(1 / 16, abs=0.001)


def test_an_onnx_graph_shows_the_normalisation_that_is_left_in_it(tmp_path: Path) -> None:
    kept = Layers(nn.ReLU(), nn.BatchNorm2d(4)).eval()
    config = TeacherConfig(reference=str(by_onnx(kept, tmp_path)), **SAID)
    (norm,) = norm_layers(load_teacher(config, device=torch.device("cpu")))
    assert (norm.kind, norm.count, norm.running_statistics) == ("BatchNorm", 1, True)
    folded = Layers(nn.BatchNorm2d(4)).eval()
    config = TeacherConfig(reference=str(by_onnx(folded, tmp_path)), **SAID)
    assert norm_layers(load_teacher(config, device=torch.device("cpu"))) == ()
