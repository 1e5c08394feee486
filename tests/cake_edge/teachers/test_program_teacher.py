"""A torch.export archive and a TorchScript file are teachers like any other."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from cake_edge.errors import NumericsError, TeacherError, UsageMistake
from cake_edge.networks import build_network
from cake_edge.teachers import TeacherConfig, load_teacher
from cake_edge.teachers.adapters import fixed_batch

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def network() -> nn.Module:
    return build_network("test_resnet", channels=3, classes=5, seed=1).eval()


@pytest.fixture(scope="module")
def files(network: nn.Module, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The network in every form, by a word for it."""
    folder = tmp_path_factory.mktemp("programs")
    example = (torch.zeros(2, 3, 32, 32),)
    batch = ({0: torch.export.Dim("batch", min=1, max=64)},)
    free = torch.export.export(network, example, dynamic_shapes=batch)
    torch.export.save(free, folder / "free.pt2")
    torch.export.save(torch.export.export(network, example), folder / "two.pt2")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.trace(network, example), folder / "script.pt")
    return {path.stem: path for path in folder.iterdir()}


def config(path: Path, **given: Any) -> TeacherConfig:
    return TeacherConfig(**{"reference": str(path), "preset": "imagenet", **given})


@pytest.mark.parametrize("name", ["free", "two", "script"])
def test_a_program_answers_as_its_network(
    files: dict[str, Path], network: nn.Module, name: str
) -> None:
    size = {} if name != "script" else {"input_size": (3, 32, 32)}
    teacher = load_teacher(config(files[name], **size), device=CPU)
    images = torch.randn(5, 3, 32, 32, generator=torch.Generator().manual_seed(0)).requires_grad_()
    with torch.no_grad():
        wanted = network(images)
    logits = teacher(images)
    torch.testing.assert_close(logits, wanted, rtol=1e-4, atol=1e-4)
    logits.sum().backward()
    assert images.grad is not None
    assert images.grad.abs().max() > 0
    assert teacher.spec.classes == 5
    assert fixed_batch(teacher.network) == (2 if name == "two" else None)


def test_programs_with_the_same_weights_are_told_apart_by_their_files(
    files: dict[str, Path],
) -> None:
    one, two = (load_teacher(config(files[name]), device=CPU) for name in ("free", "two"))
    assert one.digest != two.digest


def test_an_archive_says_nothing_of_mean_and_std(files: dict[str, Path]) -> None:
    with pytest.raises(TeacherError, match=r"the archive does not say which mean and std"):
        load_teacher(config(files["free"], preset=None), device=CPU)


def test_a_script_says_nothing_of_its_size(files: dict[str, Path]) -> None:
    with pytest.raises(TeacherError, match="give --input-size C,H,W"):
        load_teacher(config(files["script"]), device=CPU)


@pytest.mark.parametrize("given", [{"arch": "test_resnet"}, {"match": "order"}])
def test_options_for_weights_are_refused(files: dict[str, Path], given: dict[str, Any]) -> None:
    with pytest.raises(UsageMistake, match="holds its network"):
        load_teacher(config(files["free"], **given), device=CPU)


def test_another_size_than_the_programs_is_refused(files: dict[str, Path]) -> None:
    with pytest.raises(UsageMistake, match="leave it out"):
        load_teacher(config(files["free"], input_size=(3, 64, 64)), device=CPU)


def test_a_file_that_is_no_archive_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.pt2"
    path.write_bytes(b"not a zip")
    with pytest.raises(TeacherError, match=r"no archive that torch\.export\.save wrote"):
        load_teacher(config(path), device=CPU)


def test_a_weight_that_is_not_finite_is_refused(tmp_path: Path) -> None:
    class Spoilt(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(12, 3)
            with torch.no_grad():
                self.linear.weight[0, 0] = float("nan")

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return self.linear(images.flatten(1))

    program = torch.export.export(Spoilt().eval(), (torch.zeros(1, 3, 2, 2),))
    torch.export.save(program, tmp_path / "x.pt2")
    with pytest.raises(NumericsError, match="1 of 36 values"):
        load_teacher(config(tmp_path / "x.pt2"), device=CPU)
