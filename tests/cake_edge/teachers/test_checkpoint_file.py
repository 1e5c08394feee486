from __future__ import annotations

import logging
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import nn

from cake_edge.checkpoint import Checkpoint, save_checkpoint
from cake_edge.errors import CakeEdgeError, NumericsError, TeacherError, UsageMistake
from cake_edge.networks import build_network
from cake_edge.spec import ImageSpec
from cake_edge.teachers.checkpoint_file import load_file_teacher
from cake_edge.teachers.config import TeacherConfig

SPEC = ImageSpec(channels=1, height=28, width=28, mean=(0.3,), std=(0.4,), classes=10)


def config(**given: Any) -> TeacherConfig:
    common = {"arch": "test_resnet", "input_size": (1, 28, 28), "preset": "zero-one"}
    return TeacherConfig(**{"reference": "x", **common, **given})


def answers(network: nn.Module, channels: int = 1) -> torch.Tensor:
    images = torch.linspace(-1, 1, 2 * channels * 28 * 28).reshape(2, channels, 28, 28)
    with torch.no_grad():
        logits: torch.Tensor = network(images)
    return logits


def test_weights_of_others_give_the_network_they_are_of(weights: Path, small: nn.Module) -> None:
    teacher = load_file_teacher(weights, config())
    assert torch.allclose(answers(teacher), answers(small), atol=1e-5)
    assert teacher.architecture == "test_resnet"
    assert teacher.source == f"{weights.name}, {len(small.state_dict())} tensors matched by name"


def test_classes_and_channels_are_read_from_the_weights(weights: Path) -> None:
    said = config(input_size=None, preset="zero-one")
    teacher = load_file_teacher(weights, said)
    assert (teacher.spec.channels, teacher.spec.classes) == (1, 10)
    assert teacher.spec.input_size == (1, 160, 160)
    assert teacher.spec.mean == (0.0,)


@pytest.mark.parametrize("match", ["name", "order"])
@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"num_classes": 100}, "weights for 10 classes, but --num-classes asks for 100"),
        ({"input_size": (3, 28, 28)}, "weights for 1 channels, but --input-size asks for 3"),
    ],
)
def test_what_the_weights_contradict_is_refused(
    weights: Path, given: dict[str, Any], words: str, match: str
) -> None:
    with pytest.raises(TeacherError, match=words):
        load_file_teacher(weights, config(**given, match=match))


def test_mean_and_std_are_never_assumed(weights: Path) -> None:
    with pytest.raises(TeacherError, match="--mean and --std, or --preset") as caught:
        load_file_teacher(weights, config(preset=None))
    assert "timm trains this architecture with (0.5, 0.5, 0.5)" in str(caught.value)


@pytest.mark.parametrize(
    "given",
    [{"preset": "imagenet"}, {"preset": None, "mean": (0.5,) * 3, "std": (0.5,) * 3}],
)
def test_three_means_for_one_channel_are_refused(weights: Path, given: dict[str, Any]) -> None:
    with pytest.raises(UsageMistake, match="the teacher's input has 1 channel; give --mean"):
        load_file_teacher(weights, config(**given))


def test_an_architecture_must_be_named(weights: Path) -> None:
    with pytest.raises(UsageMistake, match="name it with --arch NAME"):
        load_file_teacher(weights, config(arch=None))


def test_an_unknown_architecture_is_answered_with_near_names(weights: Path) -> None:
    with pytest.raises(UsageMistake, match="did you mean test_resnet"):
        load_file_teacher(weights, config(arch="test_resnett"))


def test_another_architecture_does_not_fit_and_says_where(weights: Path) -> None:
    with pytest.raises(TeacherError) as caught:
        load_file_teacher(weights, config(arch="test_efficientnet"))
    for words in ("does not fit test_efficientnet", "missing (conv_stem.weight", "unexpected ("):
        assert words in str(caught.value)


def renamed(network: nn.Module) -> dict[str, torch.Tensor]:
    state = network.state_dict()
    return {f"_{n}.{name.rpartition('.')[2]}": state[name] for n, name in enumerate(state)}


def test_other_names_fit_by_order_and_a_part_of_the_mapping_is_logged_unasked(
    tmp_path: Path, small: nn.Module, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "other.pth"
    torch.save(renamed(small), path)
    with pytest.raises(TeacherError, match="add --match order"):
        load_file_teacher(path, config())
    with caplog.at_level(logging.INFO, logger="cake_edge"):
        teacher = load_file_teacher(path, config(match="order", input_size=None))
    assert torch.allclose(answers(teacher), answers(small), atol=1e-5)
    shown = [record for record in caplog.records if " -> " in record.message]
    assert [record.message.partition(" ->")[0] for record in shown[:1]] == ["_0.weight"]
    assert len(shown) == 4
    caplog.clear()
    with caplog.at_level(logging.DEBUG, logger="cake_edge"):
        load_file_teacher(path, config(match="order", input_size=None))
    assert caplog.text.count(" -> ") == len(small.state_dict())
    assert teacher.source.endswith("tensors matched by order")


def test_safetensors_have_no_order_to_match_by(tmp_path: Path, small: nn.Module) -> None:
    path = tmp_path / "other.safetensors"
    save_file(renamed(small), path)
    with pytest.raises(UsageMistake, match="safetensors sorts tensors by name"):
        load_file_teacher(path, config(match="order"))


def test_an_old_file_without_counters_fits(tmp_path: Path, small: nn.Module) -> None:
    state = {n: t for n, t in small.state_dict().items() if not n.endswith("num_batches_tracked")}
    torch.save(state, tmp_path / "old.th")
    teacher = load_file_teacher(tmp_path / "old.th", config())
    assert torch.allclose(answers(teacher), answers(small), atol=1e-5)


def test_a_transformer_is_built_for_its_own_image_size(tmp_path: Path) -> None:
    network = build_network(
        "test_vit", channels=3, classes=4, arguments={"img_size": [32, 48]}, seed=1
    ).eval()
    torch.save(network.state_dict(), tmp_path / "vit.pth")
    said = config(arch="test_vit", input_size=(3, 32, 48), preset="inception")
    teacher = load_file_teacher(tmp_path / "vit.pth", said)
    assert teacher.arguments == {"img_size": [32, 48]}
    assert teacher.spec.classes == 4


def test_an_image_size_that_the_positions_do_not_fit_is_named(tmp_path: Path) -> None:
    network = build_network("test_vit", channels=3, classes=4, arguments={"img_size": 32})
    torch.save(network.state_dict(), tmp_path / "vit.pth")
    with pytest.raises(TeacherError, match="1 of another shape \\(pos_embed"):
        load_file_teacher(tmp_path / "vit.pth", config(arch="test_vit", input_size=(3, 64, 64)))


def test_a_crop_belongs_to_the_size_of_the_architecture(weights: Path) -> None:
    assert load_file_teacher(weights, config()).spec.crop == 1.0
    assert load_file_teacher(weights, config(input_size=None)).spec.crop == 0.95
    assert load_file_teacher(weights, config(crop=0.9)).spec.crop == 0.9


def test_logits_that_are_not_finite_are_refused(tmp_path: Path, small: nn.Module) -> None:
    state = {name: tensor.clone() for name, tensor in small.state_dict().items()}
    state["fc.weight"].fill_(3e38)
    state["fc.bias"].fill_(-3e38)
    state["conv1.1.bias"].fill_(1e30)
    torch.save(state, tmp_path / "huge.pth")
    with pytest.raises(NumericsError, match="mid-grey image with NaN or infinity"):
        load_file_teacher(tmp_path / "huge.pth", config())


@pytest.fixture
def own(tmp_path: Path, small: nn.Module) -> Path:
    path = tmp_path / "own.safetensors"
    save_checkpoint(path, small, Checkpoint(architecture="test_resnet", spec=SPEC), half=True)
    return path


def test_our_own_checkpoint_says_everything_itself(own: Path, small: nn.Module) -> None:
    teacher = load_file_teacher(own, TeacherConfig(reference=str(own)))
    assert teacher.spec == SPEC
    assert teacher.architecture == "test_resnet"
    assert torch.allclose(answers(teacher), answers(small), atol=1e-2)
    assert all(p.dtype is torch.float32 for p in teacher.parameters())


def test_what_evaluation_needs_may_be_added_to_our_own(own: Path) -> None:
    labels = tuple("abcdefghij")
    said = TeacherConfig(reference=str(own), labels=labels, crop=0.9, interpolation="nearest")
    spec = load_file_teacher(own, said).spec
    assert (spec.labels, spec.crop, spec.interpolation) == (labels, 0.9, "nearest")
    assert spec.mean == SPEC.mean


@pytest.mark.parametrize(
    "given",
    [
        {"arch": "resnet18"},
        {"num_classes": 11},
        {"input_size": (3, 28, 28)},
        {"mean": (0.5,), "std": (0.4,)},
        {"preset": "imagenet"},
        {"arguments": {"stem_width": 8}},
    ],
)
def test_what_contradicts_our_own_header_is_refused(own: Path, given: dict[str, Any]) -> None:
    with pytest.raises(UsageMistake, match="contradicts"):
        load_file_teacher(own, TeacherConfig(reference=str(own), **given))


def test_what_agrees_with_our_own_header_is_welcome(own: Path) -> None:
    said = TeacherConfig(
        reference=str(own), arch="test_resnet", num_classes=10, mean=(0.3,), std=(0.4,)
    )
    assert load_file_teacher(own, said).spec == SPEC


@settings(
    max_examples=50,
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_our_own_checkpoint_damaged_gives_an_error_of_ours_or_loads(
    own: Path, data: st.DataObject
) -> None:
    content = bytearray(own.read_bytes())
    header = int.from_bytes(content[:8], "little") + 8
    place = st.one_of(st.integers(0, header - 1), st.integers(0, len(content) - 1))
    for _ in range(data.draw(st.integers(0, 4), label="flips")):
        content[data.draw(place)] ^= 1 << data.draw(st.integers(0, 7))
    length = data.draw(st.one_of(st.just(len(content)), st.integers(0, len(content))), "length")
    damaged = own.with_name("damaged.safetensors")
    damaged.write_bytes(bytes(content[:length]))
    with suppress(CakeEdgeError):
        load_file_teacher(damaged, TeacherConfig(reference="damaged.safetensors"))
