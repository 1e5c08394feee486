from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub import constants

from cake_edge.errors import TeacherError, UsageMistake
from cake_edge.teachers.config import TeacherConfig
from cake_edge.teachers.timm_name import load_timm


def random(**given: Any) -> TeacherConfig:
    return TeacherConfig(**{"reference": "timm:x", "random_weights": True, **given})


@pytest.fixture
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No network and an empty cache."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "127.0.0.1")


def test_random_weights_depend_on_the_seed_alone() -> None:
    state = torch.get_rng_state()
    first, again, other = (load_timm("test_resnet", random(), seed=s) for s in (1, 1, 2))
    assert first.digest == again.digest != other.digest
    assert torch.equal(state, torch.get_rng_state())


def test_size_mean_and_std_are_those_timm_trains_with() -> None:
    spec = load_timm("test_resnet.r160_in1k", random()).spec
    assert spec.input_size == (3, 160, 160)
    assert (spec.mean, spec.std) == ((0.5,) * 3, (0.5,) * 3)
    assert (spec.classes, spec.crop, spec.interpolation) == (1000, 0.95, "bilinear")


def test_random_weights_take_any_channels_and_classes() -> None:
    teacher = load_timm(
        "test_efficientnet", random(input_size=(1, 32, 32), num_classes=7, preset="zero-one")
    )
    with torch.no_grad():
        assert teacher(torch.zeros(2, 1, 32, 32)).shape == (2, 7)


def test_a_grey_input_needs_a_mean_of_its_own() -> None:
    with pytest.raises(
        UsageMistake,
        match=r"timm's configuration.* 1 channel; give --mean",
    ):
        load_timm("test_resnet", random(input_size=(1, 32, 32)))


def test_a_transformer_is_told_its_image_size_and_a_convnet_is_not() -> None:
    assert load_timm("test_vit", random(input_size=(3, 64, 64))).arguments == {"img_size": 64}
    assert load_timm("test_resnet", random(input_size=(3, 64, 64))).arguments == {}
    assert load_timm("test_vit", random()).arguments == {}


def test_arguments_reach_timm() -> None:
    teacher = load_timm("test_resnet", random(arguments={"stem_width": 8}))
    assert teacher.arguments == {"stem_width": 8}
    assert teacher.network.conv1[0].out_channels == 8  # type: ignore[index,union-attr]


@pytest.mark.parametrize(
    ("name", "given", "words"),
    [
        ("resnett18", {}, "did you mean resnet18"),
        ("resnet18.nope", {}, r"of resnet18 it has: .*resnet18\.a1_in1k"),
        ("", {}, "no architecture ''"),
        ("test_resnet", {"arch": "resnet18"}, "are for checkpoint files"),
        ("test_resnet", {"match": "order"}, "are for checkpoint files"),
        ("test_resnet", {"arguments": {"nonsense": 1}}, "cannot build 'test_resnet'.*nonsense"),
    ],
)
def test_a_wrong_request_is_named(name: str, given: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageMistake, match=words):
        load_timm(name, random(**given))


@pytest.mark.parametrize("given", [{"num_classes": 10}, {"input_size": (1, 160, 160)}])
def test_trained_weights_keep_their_classes_and_channels(given: dict[str, Any]) -> None:
    with pytest.raises(TeacherError, match="are for 3 channels and 1000 classes"):
        load_timm("test_resnet", TeacherConfig(reference="timm:test_resnet", **given))


def test_weights_without_a_head_are_no_classifier() -> None:
    config = TeacherConfig(reference="timm:x")
    with pytest.raises(TeacherError, match="no classification head"):
        load_timm("vit_small_patch14_dinov2.lvd142m", config)


@pytest.mark.usefixtures("offline")
def test_weights_that_cannot_be_fetched_leave_two_other_ways() -> None:
    before = constants.HF_HUB_OFFLINE
    with pytest.raises(TeacherError) as caught:
        load_timm("test_resnet", TeacherConfig(reference="timm:test_resnet"))
    for words in ("--random-weights", "--teacher FILE --arch test_resnet", "could not be had"):
        assert words in str(caught.value)
    assert before == constants.HF_HUB_OFFLINE


@pytest.mark.usefixtures("offline")
def test_a_request_that_timm_refuses_is_not_blamed_on_the_network() -> None:
    config = TeacherConfig(reference="timm:test_resnet", arguments={"nonsense": 1})
    with pytest.raises(UsageMistake, match="nonsense"):
        load_timm("test_resnet", config)


def test_one_output_tells_two_classes_apart() -> None:
    given = random(input_size=(1, 32, 32), num_classes=1, preset="zero-one", head="sigmoid")
    teacher = load_timm("test_efficientnet", given)
    images = torch.randn(3, 1, 32, 32)
    with torch.no_grad():
        answer, alone = teacher(images), teacher.network.network(images)
    assert (teacher.spec.classes, teacher.spec.head) == (2, "softmax")
    assert torch.allclose(answer.softmax(1)[:, 1], alone[:, 0].sigmoid())
