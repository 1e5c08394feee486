from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from cake_edge.errors import (
    CakeEdgeError,
    DeviceUnavailable,
    TeacherError,
    UsageMistake,
)
from cake_edge.teachers import TeacherConfig, load_teacher
from cake_edge.teachers.reference import package_file

CPU = torch.device("cpu")


def test_a_timm_name_is_a_teacher() -> None:
    config = TeacherConfig(reference="timm:test_resnet", random_weights=True)
    teacher = load_teacher(config, device=CPU, seed=4)
    assert teacher.source == "timm:test_resnet with random weights 4"


def test_a_file_is_a_teacher(weights: Path) -> None:
    config = TeacherConfig(
        reference=str(weights), arch="test_resnet", input_size=(1, 28, 28), preset="zero-one"
    )
    assert load_teacher(config, device=CPU).spec.classes == 10


@pytest.mark.parametrize("reference", ["embedded", "embedded:fashion-mnist"])
def test_the_embedded_teacher_needs_nothing_else(reference: str) -> None:
    teacher = load_teacher(TeacherConfig(reference=reference), device=CPU)
    assert teacher.spec.input_size == (1, 28, 28)
    assert teacher.spec.labels is not None
    assert len(teacher.spec.labels) == 10
    assert teacher.parameters_total >= 500_000


@pytest.fixture
def package(tmp_path: Path, weights: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installed package that would leave a trace if it were imported."""
    folder = tmp_path / "site" / "vendor_weights"
    (folder / "models").mkdir(parents=True)
    (folder / "models" / "small.pth").write_bytes(weights.read_bytes())
    trace = tmp_path / "imported"
    (folder / "__init__.py").write_text(f"open({str(trace)!r}, 'w').close()\n")
    monkeypatch.syspath_prepend(folder.parent)
    return trace


def test_a_file_in_a_package_is_found_without_running_the_package(package: Path) -> None:
    config = TeacherConfig(
        reference="package:vendor_weights/models/small.pth",
        arch="test_resnet",
        input_size=(1, 28, 28),
        mean=(0.5,),
        std=(0.25,),
    )
    assert load_teacher(config, device=CPU).spec.std == (0.25,)
    assert not package.exists()
    assert "vendor_weights" not in sys.modules


@pytest.mark.usefixtures("package")
@pytest.mark.parametrize(
    ("inside", "error", "words"),
    [
        ("vendor_weights/small.pth", TeacherError, "did you mean models/small.pth"),
        ("vendor_weights/../x.pth", UsageMistake, "leaves the folder"),
        ("vendor_weights", UsageMistake, "not of the form package:MODULE/FILE"),
        ("vendor.weights/small.pth", UsageMistake, "not of the form package:MODULE/FILE"),
        ("vendor_wights/small.pth", TeacherError, "no package with a folder vendor_wights"),
        ("this/x.pth", TeacherError, "no package with a folder this"),
    ],
)
def test_a_package_reference_that_leads_nowhere_says_why(
    inside: str, error: type[CakeEdgeError], words: str
) -> None:
    with pytest.raises(error, match=words):
        package_file(inside)


@pytest.mark.parametrize(
    ("reference", "error", "words"),
    [
        ("nowhere.pth", TeacherError, "not an existing file.*timm:NAME.*embedded"),
        ("resnet18", TeacherError, "write timm:resnet18"),
        ("hub/resnet18", TeacherError, "not an existing file"),
        ("model.h5", TeacherError, "not an existing file"),
        ("timm:resnett18", UsageMistake, "did you mean resnet18"),
        ("embedded:fashion-mnis", UsageMistake, "did you mean fashion-mnist"),
    ],
)
def test_a_reference_that_leads_nowhere_says_what_would(
    reference: str, error: type[CakeEdgeError], words: str
) -> None:
    with pytest.raises(error, match=words):
        load_teacher(TeacherConfig(reference=reference), device=CPU)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has the device")
def test_a_device_that_is_not_there_is_named() -> None:
    config = TeacherConfig(reference="timm:test_resnet", random_weights=True)
    with pytest.raises(DeviceUnavailable, match="use --device cpu"):
        load_teacher(config, device=torch.device("cuda", 0))


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("model.h5", r"ends in '\.h5'.*\.safetensors, \.pth.*\.onnx, \.pt2"),
        ("bare", "ends in 'nothing'"),
        ("folder.pth", "is a folder"),
    ],
)
def test_what_is_no_teachers_file_is_refused(tmp_path: Path, name: str, words: str) -> None:
    path = tmp_path / name
    path.mkdir() if path.suffix == ".pth" else path.touch()
    with pytest.raises(TeacherError, match=words):
        load_teacher(TeacherConfig(reference=str(path)), device=torch.device("cpu"))


def test_random_weights_and_a_file_contradict_each_other(weights: Path) -> None:
    config = TeacherConfig(reference=str(weights), random_weights=True)
    with pytest.raises(UsageMistake, match="brings its own weights"):
        load_teacher(config, device=torch.device("cpu"))
