from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from cake_edge.errors import CakeEdgeError, TeacherError
from cake_edge.provenance import sha256_file
from cake_edge.spec import ImageSpec
from cake_edge.teachers import TeacherConfig, adapters, several, subset
from cake_edge.teachers.frozen import FrozenTeacher
from cake_edge.teachers.inspection import (
    ADAPTERS,
    Inspection,
    _images,
    inspect_reference,
    inspect_teacher,
)

Make = Callable[..., FrozenTeacher]
SAID: dict[str, Any] = {
    "arch": "test_resnet", "input_size": (1, 28, 28), "mean": (0.25,), "std": (0.5,),
}  # fmt: skip


def inspect(reference: object, *, check: bool = False, **given: Any) -> Inspection:
    return inspect_reference(TeacherConfig(reference=str(reference), **given), check=check)


def test_every_adapter_has_words() -> None:
    every = {
        name
        for module in (adapters, subset, several)
        for name, value in vars(module).items()
        if isinstance(value, type) and issubclass(value, adapters.Adapter)
    }
    # What stands around a further teacher is not on the way to the first.
    assert set(ADAPTERS) == every - {"Adapter", "OtherInput"}


def test_a_file_of_weights_is_told_whole(weights: Path, small: nn.Module) -> None:
    found = inspect(weights, **SAID)
    assert found.kind == "weights of a network of timm's, in a file"
    assert found.file == {
        "name": "small.pth",
        "bytes": weights.stat().st_size,
        "sha256": sha256_file(weights),
    }
    assert found.parameters == sum(p.numel() for p in small.parameters())
    assert found.macs is not None
    assert found.macs > found.parameters
    assert found.spec["input_size"] == [1, 28, 28]
    assert found.value_range == (-0.5, 1.5)
    assert found.origins["mean and std"] == "as asked for"
    assert [norm.kind for norm in found.norms] == ["BatchNorm2d"]
    assert found.matched == tuple((name, name) for name in small.state_dict())
    assert (found.adapters, found.batch, found.left_out, found.check) == ((), None, (), None)
    assert all(fit.fits and not fit.said for fit in found.samplers)
    assert json.loads(json.dumps(found.to_dict()))["spec"]["classes"] == 10


def test_a_missing_mean_does_not_hide_the_rest(weights: Path) -> None:
    said = {**SAID, "mean": None, "std": None}
    found = inspect(weights, check=True, **said)
    assert found.spec["mean"] is None
    assert found.spec["std"] is None
    assert found.value_range is None
    assert found.origins["mean and std"].startswith("not known: give --mean and --std")
    assert found.spec["classes"] == 10
    assert found.check is not None
    assert not any(row.stated for row in found.check.rows)


def test_what_else_is_missing_is_an_error_as_everywhere(tmp_path: Path) -> None:
    with pytest.raises(CakeEdgeError, match="not an existing file"):
        inspect(tmp_path / "nowhere.pth")


@pytest.mark.parametrize(
    ("given", "kind", "filed"),
    [
        ({"reference": "embedded"}, "the teacher that comes with this package", True),
        (
            {"reference": "timm:test_resnet", "random_weights": True, "input_size": (3, 32, 32)},
            "timm's network by its name",
            False,
        ),
        (
            {
                "reference": "benchmarks.low_bit:ResNet20",
                "input_size": (3, 32, 32),
                "preset": "imagenet",
            },
            "a network that Python code builds",
            False,
        ),
    ],
)
def test_the_kind_is_said_in_words(given: dict[str, Any], kind: str, filed: bool) -> None:
    found = inspect(given.pop("reference"), **given)
    assert found.kind == kind
    assert (found.file is not None) == filed


def test_adapters_and_a_fixed_batch_are_said(tmp_path: Path) -> None:
    class Fixed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(3, 4)

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return torch.softmax(self.head(images.mean((2, 3)).reshape(3, 3)), 1)

    program = torch.export.export(Fixed().eval(), (torch.rand(3, 3, 16, 16),))
    torch.export.save(program, tmp_path / "x.pt2")
    found = inspect(tmp_path / "x.pt2", preset="zero-one")
    assert found.kind == "a torch.export archive"
    assert found.batch == 3
    assert found.adapters == (ADAPTERS["LogitsOfProbabilities"], ADAPTERS["FixedBatch"])


def test_a_selection_of_classes_keeps_what_is_known_of_the_file(weights: Path) -> None:
    found = inspect(weights, classes=("1", "2"), other=True, **SAID)
    assert found.spec["classes"] == 3
    assert found.adapters == (ADAPTERS["ClassSubset"],)
    assert found.matched is not None


def of(found: Inspection, name: str) -> Any:
    return next(fit for fit in found.samplers if fit.name == name)


def test_tuples_longer_than_the_classes_do_not_fit(make_teacher: Make) -> None:
    found = inspect_teacher(make_teacher("plain"), TeacherConfig(reference="x"), check=False)
    assert of(found, "cake").fits
    assert not of(found, "cake-paper").fits
    assert of(found, "cake-paper").said.endswith("--set tuple_size=4")


class Rounds(nn.Module):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images.round().mean((2, 3)).repeat(1, 12)


def test_without_gradients_those_that_follow_them_do_not_work() -> None:
    spec = ImageSpec(channels=1, height=16, width=16, mean=(0.5,), std=(0.5,), classes=12)
    teacher = FrozenTeacher(Rounds(), spec, architecture="rounds")
    found = inspect_teacher(teacher, TeacherConfig(reference="x"), check=False)
    assert found.gradient.reached == 0
    assert [fit.name for fit in found.samplers if fit.fits] == ["forward-only"]
    assert "--set pushed_share=0" in of(found, "cake").said
    assert "follows gradients" in of(found, "cake-paper").said


class Distances(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.centres = nn.Parameter(torch.rand(12, 256))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return -(images.flatten(1)[:, None] - self.centres).square().mean(2)


def test_what_a_sampler_lacks_is_said() -> None:
    spec = ImageSpec(
        channels=1, height=16, width=16, mean=(0.5,), std=(0.5,), classes=12, head="sigmoid"
    )
    config = TeacherConfig(reference="x")
    teacher = FrozenTeacher(Distances(), spec, architecture="distances")
    found = inspect_teacher(teacher, config, check=False)
    assert "--set statistics=0" in of(found, "deep-inversion").said
    assert "exclude each other" in of(found, "data-impressions").said
    exclusive = dataclasses.replace(spec, head="softmax")
    teacher = FrozenTeacher(Distances(), exclusive, architecture="distances")
    found = inspect_teacher(teacher, config, check=False)
    assert "last linear layer" in of(found, "data-impressions").said
    assert of(found, "gdfq").fits


def test_what_was_matched_by_order_is_shown(tmp_path: Path, small: nn.Module) -> None:
    names = {
        f"t{n}.{k.rpartition('.')[2]}": t for n, (k, t) in enumerate(small.state_dict().items())
    }
    torch.save({**names, "total_ops": torch.ones(1)}, tmp_path / "w.pth")
    found = inspect(tmp_path / "w.pth", match="order", **SAID)
    assert found.matched is not None
    assert found.matched[0] == ("t0.weight", "conv1.0.weight")
    assert found.left_out == ("total_ops",)
    with pytest.raises(TeacherError, match="add --match order"):
        inspect(tmp_path / "w.pth", **SAID)


@pytest.mark.parametrize(("macs", "images"), [(None, 128), (10**6, 128), (10**9, 50), (10**12, 32)])
def test_a_large_network_is_shown_fewer_images(macs: int | None, images: int) -> None:
    assert _images(macs) == images
