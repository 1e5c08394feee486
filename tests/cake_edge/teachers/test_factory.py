from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from cake_edge.errors import CakeEdgeError, TeacherError, UsageMistake
from cake_edge.pool import synthesize
from cake_edge.samplers import CakeConfig
from cake_edge.teachers import TeacherConfig, load_teacher
from cake_edge.teachers.factory import is_factory, load_factory

SOURCE = """
from dataclasses import dataclass

import torch
from torch import nn


class Small(nn.Module):
    def __init__(self, classes=4):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, stride=2)
        self.head = nn.Linear(8, classes)

    def forward(self, images):
        return self.head(self.stem(images).relu().mean((2, 3)))


class Says(Small):
    pretrained_cfg = {
        "input_size": (3, 24, 32), "mean": [0.4] * 3, "std": [0.2] * 3,
        "label_names": ["a", "b", "c", "d"],
    }


@dataclass
class Config:
    input_size: tuple = (3, 16, 16)
    mean: tuple = (0.1, 0.2, 0.3)
    std: tuple = (1.0, 1.0, 1.0)


class Described(Small):
    default_cfg = Config()


class Odd(Small):
    pretrained_cfg = {"input_size": (3, 16, 16), "mean": "grey", "std": (1, 1, 1)}


class Doubles(Small):
    def __init__(self):
        super().__init__()
        self.double()


def words():
    return "not a network"


def weights():
    return Small().state_dict()


def broken():
    return {}["checkpoint"]


NUMBER = 3
"""


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Puts a module where Python finds it, and forgets it after the test."""
    monkeypatch.syspath_prepend(tmp_path)
    names = []

    def put(name: str, source: str) -> None:
        (tmp_path / f"{name}.py").write_text(source)
        names.append(name)

    yield put
    for name in names:
        sys.modules.pop(name, None)


@pytest.fixture
def vendor(install: Callable[..., None]) -> str:
    install("vendor_networks", SOURCE)
    return "vendor_networks"


def load(name: str, *, seed: int = 0, **given: Any) -> Any:
    return load_factory(name, TeacherConfig(reference=name, **given), seed=seed)


SIZED: dict[str, Any] = {"input_size": (3, 16, 16), "preset": "imagenet"}


@pytest.mark.parametrize(
    ("word", "answer"),
    [
        ("a:b", True),
        ("package.module:factory", True),
        ("package.module:Class.method", False),
        ("C:/model.pth", False),
        ("package:module/file.pth", False),
        ("a.b", False),
    ],
)
def test_a_factory_has_the_form_of_module_and_name(word: str, answer: bool) -> None:
    assert is_factory(word) is answer


def test_a_factory_gives_a_teacher_and_the_log_says_that_it_runs_code(
    vendor: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, logger="cake_edge"):
        teacher = load(f"{vendor}:Small", arguments={"classes": 7}, **SIZED)
    assert teacher.spec.classes == 7
    assert teacher.spec.input_size == (3, 16, 16)
    assert (teacher.architecture, teacher.arguments) == (f"{vendor}:Small", {"classes": 7})
    assert "runs code of the Python module vendor_networks" in caplog.text


def test_the_seed_decides_the_weights_and_the_global_state_is_kept(vendor: str) -> None:
    state = torch.get_rng_state()
    first, again, other = (load(f"{vendor}:Small", seed=s, **SIZED) for s in (1, 1, 2))
    assert first.digest == again.digest != other.digest
    assert torch.equal(state, torch.get_rng_state())


def test_what_the_network_says_of_itself_is_believed(vendor: str) -> None:
    teacher = load(f"{vendor}:Says")
    assert teacher.spec.input_size == (3, 24, 32)
    assert (teacher.spec.mean, teacher.spec.std) == ((0.4,) * 3, (0.2,) * 3)
    assert teacher.spec.labels == ("a", "b", "c", "d")
    assert teacher.origins["mean and std"] == "the network's pretrained_cfg"
    assert load(f"{vendor}:Described").spec.mean == (0.1, 0.2, 0.3)


def test_doubles_become_floats(vendor: str) -> None:
    teacher = load(f"{vendor}:Doubles", **SIZED)
    assert {p.dtype for p in teacher.parameters()} == {torch.float32}


@pytest.mark.parametrize(
    ("name", "given", "error", "words"),
    [
        ("Small", {}, TeacherError, "give --input-size C,H,W"),
        ("Small", {"input_size": (3, 16, 16)}, TeacherError, "Small does not say .*--mean"),
        ("Odd", {}, TeacherError, "pretrained_cfg holds a value of another form"),
        ("smal", SIZED, UsageMistake, "has nothing of that name.*did you mean Small"),
        ("NUMBER", SIZED, UsageMistake, "has there an int"),
        ("words", SIZED, TeacherError, "returns a str, not a torch.nn.Module"),
        ("weights", SIZED, TeacherError, "returns an OrderedDict, not"),
        ("broken", SIZED, TeacherError, r"failed \(KeyError: 'checkpoint'\)"),
        ("Small", {"arguments": {"width": 2}, **SIZED}, TeacherError, "width=2 failed .TypeError"),
        ("Small", {"random_weights": True, **SIZED}, UsageMistake, "--random-weights goes with"),
        ("Small", {"arch": "resnet18", **SIZED}, UsageMistake, "--teacher FILE --arch vendor_"),
        ("Small", {"match": "order", **SIZED}, UsageMistake, "--arch and --match are for"),
        ("Small", {"num_classes": 9, **SIZED}, TeacherError, "tells 4 classes apart"),
    ],
)
def test_what_goes_wrong_is_one_sentence(
    vendor: str, name: str, given: dict[str, Any], error: type[CakeEdgeError], words: str
) -> None:
    with pytest.raises(error, match=words) as caught:
        load(f"{vendor}:{name}", **given)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("import surely_not_there", r"importing faulty failed \(ModuleNotFoundError: No module"),
        ("def f(:", r"importing faulty failed \(SyntaxError: "),
        ("raise SystemExit(0)", r"importing faulty failed \(SystemExit: 0\)"),
        ("raise ValueError('a\\nb')", r"importing faulty failed \(ValueError: a\)"),
    ],
)
def test_a_module_that_cannot_be_imported_says_why(
    install: Callable[..., None], source: str, words: str
) -> None:
    install("faulty", source)
    with pytest.raises(TeacherError, match=words):
        load("faulty:f")


@pytest.mark.parametrize("module", ["surely_not_there", "surely_not_there.inner", "json.nowhere"])
def test_a_module_that_is_not_there_names_the_ways_to_bring_it(module: str) -> None:
    with pytest.raises(TeacherError, match="install it, or run with PYTHONPATH=FOLDER"):
        load(f"{module}:f")


def test_the_working_folder_is_not_searched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "lying_about.py").write_text("raise SystemExit('run')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])
    with pytest.raises(TeacherError, match="no Python module lying_about"):
        load("lying_about:f")


def test_worker_processes_make_the_same_images(vendor: str, tmp_path: Path) -> None:
    config = TeacherConfig(reference=f"{vendor}:Small", **SIZED)
    teacher = load_teacher(config, device=torch.device("cpu"))
    sampler = CakeConfig(images_per_shard=8, steps=1, oversample=1)
    pools = [
        synthesize(teacher, sampler, tmp_path / str(n), count=16, seed=0, workers=n) for n in (1, 2)
    ]
    one, two = (torch.cat([b.images for b in pool.batches(8)]) for pool in pools)
    assert torch.equal(one, two)
