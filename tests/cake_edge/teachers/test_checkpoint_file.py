from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import nn

from benchmarks.low_bit import resnet20
from cake_edge.checkpoint import Checkpoint, save_checkpoint
from cake_edge.errors import CakeEdgeError, NumericsError, TeacherError, UsageMistake
from cake_edge.networks import build_network, weights_digest
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


def test_one_output_tells_two_classes_apart(tmp_path: Path) -> None:
    network = build_network("test_resnet", channels=1, classes=1, seed=0).eval()
    save_file(network.state_dict(), tmp_path / "w.safetensors")
    teacher = load_file_teacher(tmp_path / "w.safetensors", config())
    assert (teacher.spec.classes, teacher.spec.head) == (2, "softmax")
    alone = answers(network)[:, 0].sigmoid()
    assert torch.allclose(answers(teacher).softmax(1)[:, 1], alone, atol=1e-5)
    for number in (1, 2):
        told = config(num_classes=number)
        assert load_file_teacher(tmp_path / "w.safetensors", told).digest == teacher.digest
    with pytest.raises(TeacherError, match="weights for 1 classes, but --num-classes asks for 3"):
        load_file_teacher(tmp_path / "w.safetensors", config(num_classes=3))


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


FACTORY = """
from torch import nn


class Net(nn.Module):
    def __init__(self, classes=10, width=8):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, width, 3), nn.BatchNorm2d(width), nn.ReLU())
        self.head = nn.Linear(width, classes)

    def forward(self, images):
        # Below zero, so that by no chance of the weights an answer looks like a share.
        return self.head(self.stem(images).mean((2, 3))) - 4


class Wrapped(nn.Module):
    def __init__(self):
        super().__init__()
        self.backbone = Net()

    def forward(self, images):
        return self.backbone(images)


def timm_network():
    import timm

    return timm.create_model("test_resnet", in_chans=1, num_classes=10)
"""


@pytest.fixture
def vendor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A module of factories, as a vendor's package would bring it."""
    folder = tmp_path / "site"
    folder.mkdir()
    (folder / "vendor_net.py").write_text(FACTORY)
    monkeypatch.syspath_prepend(folder)
    yield import_module("vendor_net")
    sys.modules.pop("vendor_net", None)


def with_prefix(prefix: str, state: dict[str, Any]) -> dict[str, Any]:
    return {prefix + name: tensor for name, tensor in state.items()}


@pytest.mark.parametrize(
    "keep",
    [
        lambda state: state,
        lambda state: {"state_dict": with_prefix("module.", state), "epoch": 3},
        lambda state: {"state_dict": with_prefix("model.module.net.", state)},
        lambda state: {
            "state_dict": {**with_prefix("model.", state), "criterion.weight": torch.ones(10)},
            "pytorch-lightning_version": "2.0",
        },
        lambda state: {"model_ema": {**with_prefix("module.", state), "n_averaged": torch.ones(1)}},
    ],
    ids=["plain", "parallel", "deep", "lightning", "averaged"],
)
@pytest.mark.parametrize("arch", ["Net", "Wrapped"])
def test_weights_find_their_place_in_the_network_of_a_factory(
    vendor: Any, tmp_path: Path, keep: Callable[[dict[str, Any]], Any], arch: str
) -> None:
    network = vendor.Net().eval()
    torch.save(keep(network.state_dict()), tmp_path / "w.ckpt")
    teacher = load_file_teacher(tmp_path / "w.ckpt", config(arch=f"vendor_net:{arch}"))
    assert torch.allclose(answers(teacher), answers(network), atol=1e-6)
    assert teacher.architecture == f"vendor_net:{arch}"
    assert teacher.matched is not None
    assert len(teacher.matched.pairs) == len(network.state_dict())


def test_other_names_fit_the_network_of_a_factory_by_order(vendor: Any, tmp_path: Path) -> None:
    network = vendor.Net(classes=3).eval()
    torch.save(renamed(network), tmp_path / "w.pth")
    said = config(arch="vendor_net:Net", match="order", arguments={"classes": 3})
    teacher = load_file_teacher(tmp_path / "w.pth", said)
    assert torch.allclose(answers(teacher), answers(network), atol=1e-6)
    assert teacher.matched is not None
    assert teacher.matched.pairs[0] == ("_0.weight", "stem.0.weight")


def test_what_is_left_out_is_said(
    vendor: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    content = {**vendor.Net().state_dict(), "total_ops": torch.ones(1)}
    torch.save(content, tmp_path / "w.pth")
    with caplog.at_level(logging.WARNING, logger="cake_edge"):
        teacher = load_file_teacher(tmp_path / "w.pth", config(arch="vendor_net:Net"))
    assert "1 of its tensors are none of the network's and were left out: total_ops" in caplog.text
    assert teacher.matched is not None
    assert teacher.matched.left_out == ["total_ops"]


def test_a_head_of_another_size_names_the_argument_that_is_missing(
    vendor: Any, tmp_path: Path
) -> None:
    torch.save(vendor.Net(classes=3).state_dict(), tmp_path / "w.pth")
    with pytest.raises(TeacherError, match=r"head\.weight \[3, 8\] in the file.*--arguments"):
        load_file_teacher(tmp_path / "w.pth", config(arch="vendor_net:Net"))


@pytest.mark.usefixtures("vendor")
def test_a_configuration_that_timm_notes_is_not_the_vendors(
    small: nn.Module, weights: Path
) -> None:
    said = config(arch="vendor_net:timm_network")
    assert torch.allclose(answers(load_file_teacher(weights, said)), answers(small), atol=1e-5)
    with pytest.raises(TeacherError, match="give --mean and --std"):
        load_file_teacher(weights, config(arch="vendor_net:timm_network", preset=None))


def test_the_vendors_resnet20_is_read_as_it_came(root: Path) -> None:
    path = root.parent / "shared" / "data" / "vendor-resnet20-cifar10" / "resnet20-12fca82f.th"
    if not path.is_file():
        pytest.skip("the vendor's CIFAR-10 ResNet-20 is not at hand")
    said = TeacherConfig(
        reference=str(path),
        arch="benchmarks.low_bit:ResNet20",
        input_size=(3, 32, 32),
        preset="imagenet",
    )
    teacher = load_file_teacher(path, said)
    assert teacher.spec.classes == 10
    assert weights_digest(teacher.network) == weights_digest(resnet20(path).network)


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
