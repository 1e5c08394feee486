from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub import constants
from timm.models import save_for_hf
from torch import nn

from cake_edge.errors import CakeEdgeError, TeacherError, UsageMistake
from cake_edge.networks import build_network
from cake_edge.teachers import TeacherConfig, load_teacher
from cake_edge.teachers.hub import _answers, published
from cake_edge.teachers.timm_name import load_timm

REVISION = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No network, and a cache of the hub's files that is empty so far."""
    folder = tmp_path / "cache"
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(folder))
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    return folder


@pytest.fixture(scope="module")
def trained() -> nn.Module:
    return build_network("test_resnet", channels=1, classes=3, seed=5).eval()


def save(network: nn.Module, folder: Path, **config: Any) -> Path:
    folder.mkdir(parents=True)
    about = {"label_names": ["cat", "dog", "owl"], **config}
    save_for_hf(
        network,
        str(folder),
        model_config=about,
        model_args={"in_chans": 1},
        safe_serialization=True,
        data_config={"mean": (0.3,), "std": (0.2,), "input_size": (1, 48, 64)},
    )
    return folder


def teacher_of(name: str, **given: Any) -> Any:
    return load_timm(name, TeacherConfig(reference=name, **given))


def assert_as_trained(teacher: Any, network: nn.Module) -> None:
    assert teacher.architecture == "test_resnet"
    assert teacher.spec.input_size == (1, 48, 64)
    assert (teacher.spec.mean, teacher.spec.std) == ((0.3,), (0.2,))
    assert teacher.spec.labels == ("cat", "dog", "owl")
    images = torch.linspace(-1, 1, 2 * 48 * 64).reshape(2, 1, 48, 64)
    with torch.no_grad():
        assert torch.allclose(teacher(images), network(images), atol=1e-5)


def test_a_model_of_the_hub_is_taken_from_the_cache(cache: Path, trained: nn.Module) -> None:
    save(trained, cache / "models--vendor--small" / "snapshots" / REVISION)
    (cache / "models--vendor--small" / "refs").mkdir()
    (cache / "models--vendor--small" / "refs" / "main").write_text(REVISION)
    teacher = teacher_of("hf-hub:vendor/small")
    assert_as_trained(teacher, trained)
    assert teacher.source == "hf-hub:vendor/small"
    assert teacher.origins["mean and std"] == "the config.json of hf-hub:vendor/small"


def test_a_folder_is_a_teacher_without_a_network(tmp_path: Path, trained: nn.Module) -> None:
    folder = save(trained, tmp_path / "small")
    config = TeacherConfig(reference=f"local-dir:{folder}")
    assert_as_trained(load_teacher(config, device=torch.device("cpu")), trained)


def test_labels_may_be_a_mapping_of_indices(tmp_path: Path, trained: nn.Module) -> None:
    for labels, known in (
        ({"1": "dog", "0": "cat", "2": "owl"}, ("cat", "dog", "owl")),
        ({"0": "cat", "2": "owl"}, None),
    ):
        folder = save(trained, tmp_path / str(len(labels)), label_names=labels)
        assert teacher_of(f"local-dir:{folder}").spec.labels == known


def test_random_weights_need_only_the_configuration(tmp_path: Path, trained: nn.Module) -> None:
    folder = save(trained, tmp_path / "small")
    (folder / "model.safetensors").unlink()
    name = f"local-dir:{folder}"
    assert teacher_of(name, random_weights=True).spec.classes == 3
    with pytest.raises(TeacherError, match=r"the weights of local-dir:.* could not be had"):
        teacher_of(name)


def test_other_classes_than_the_trained_ones_are_refused(
    tmp_path: Path, trained: nn.Module
) -> None:
    folder = save(trained, tmp_path / "small")
    with pytest.raises(TeacherError, match="are for 1 channels and 3 classes, not for 1 and 9"):
        teacher_of(f"local-dir:{folder}", num_classes=9)


@pytest.mark.usefixtures("cache")
def test_offline_a_model_that_is_not_kept_names_the_ways_on_within_seconds() -> None:
    before, started = constants.HF_HUB_OFFLINE, time.monotonic()
    with pytest.raises(TeacherError) as caught:
        teacher_of("hf-hub:vendor/unknown")
    assert time.monotonic() - started < 5
    assert before == constants.HF_HUB_OFFLINE
    assert "\n" not in str(caught.value)
    for words in ("hf-hub:vendor/unknown could not be had", "local-dir:FOLDER", "--arch NAME"):
        assert words in str(caught.value)


@pytest.mark.usefixtures("cache")
@pytest.mark.parametrize("name", ["a/b/c", "a b", "a@b@c", ""])
def test_what_is_no_name_of_a_repository_is_refused(name: str) -> None:
    with pytest.raises(UsageMistake, match="write hf-hub:ORG/NAME"):
        published(f"hf-hub:{name}")


@pytest.mark.parametrize(
    ("content", "error", "words"),
    [
        (None, TeacherError, "cannot be read .*config.json.*give the folder of a timm model"),
        ("{", TeacherError, "not that of a timm model .JSONDecodeError"),
        ("[]", TeacherError, "not that of a timm model"),
        (json.dumps({"architectures": ["ViT"]}), TeacherError, "KeyError: 'architecture'"),
        (json.dumps({"architecture": "nope"}), TeacherError, "its architecture is 'nope'"),
        (json.dumps({"architecture": ["a"]}), TeacherError, r"its architecture is \['a'\]"),
        (
            json.dumps({"architecture": "test_resnet", "mean": "grey", "std": [1]}),
            TeacherError,
            "holds a value of another form",
        ),
    ],
)
def test_a_folder_without_a_timm_model_says_so(
    tmp_path: Path, content: str | None, error: type[CakeEdgeError], words: str
) -> None:
    if content is not None:
        (tmp_path / "config.json").write_text(content)
    with pytest.raises(error, match=words) as caught:
        teacher_of(f"local-dir:{tmp_path}")
    assert "\n" not in str(caught.value)


def test_an_address_that_does_not_answer_is_known() -> None:
    assert not _answers("http://127.0.0.1:9")
    assert not _answers("not an address")
