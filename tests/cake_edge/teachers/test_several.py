"""Several teachers as one: the mean of their probabilities, each shown images in its own space."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from cake_edge.errors import UsageMistake
from cake_edge.hooks import watch_statistics
from cake_edge.samplers.linear_head import head_weights
from cake_edge.seeding import generator
from cake_edge.spec import ImageSpec
from cake_edge.students import StudentConfig, build_student, inherit_weights
from cake_edge.teachers.adapters import FixedBatch, fixed_batch
from cake_edge.teachers.config import TeacherConfig
from cake_edge.teachers.frozen import FrozenTeacher
from cake_edge.teachers.reference import load_teacher
from cake_edge.teachers.several import average_of

Make = Callable[..., FrozenTeacher]
CPU = torch.device("cpu")
COLOUR = ImageSpec(
    channels=3, height=16, width=16, mean=(0.4, 0.5, 0.6), std=(0.2, 0.25, 0.3), classes=4
)


def spread(teacher: FrozenTeacher, by: float = 20.0) -> FrozenTeacher:
    """Untrained logits are all alike; these differ, so that an average matters."""
    teacher.network.head.weight.mul_(by)  # type: ignore[operator,union-attr]
    return teacher


@pytest.fixture
def images() -> torch.Tensor:
    return torch.randn((6, 1, 16, 16), generator=generator(0, "images"))


def test_the_average_says_the_mean_of_the_probabilities(
    make_teacher: Make, images: torch.Tensor
) -> None:
    members = [spread(make_teacher("plain", seed=seed)) for seed in range(3)]
    found = average_of(members)(images)
    wanted = torch.stack([member(images).softmax(1) for member in members]).mean(0)
    torch.testing.assert_close(found.softmax(1), wanted)
    torch.testing.assert_close(found.mean(1), torch.zeros(6), atol=1e-5, rtol=0)


def test_of_labels_each_has_the_mean_of_its_own_probability(
    make_teacher: Make, small_spec: ImageSpec, images: torch.Tensor
) -> None:
    spec = replace(small_spec, head="sigmoid")
    members = [spread(make_teacher("plain", seed=seed, spec=spec)) for seed in range(2)]
    found = average_of(members)
    assert found.spec.head == "sigmoid"
    wanted = (members[0](images).sigmoid() + members[1](images).sigmoid()) / 2
    torch.testing.assert_close(found(images).sigmoid(), wanted)
    members[0].network.head.bias.fill_(300.0)  # type: ignore[operator,union-attr]
    assert torch.isfinite(found(images)).all()


def test_a_loud_member_does_not_drown_the_others(make_teacher: Make, images: torch.Tensor) -> None:
    members = [spread(make_teacher("plain", seed=0), 1e4), spread(make_teacher("plain", seed=1))]
    found = average_of(members)(images).softmax(1)
    assert (found >= members[1](images).softmax(1) / 2 - 1e-6).all()
    assert torch.isfinite(average_of(members)(images)).all()


def test_each_member_sees_the_images_in_its_own_space(make_teacher: Make) -> None:
    other = replace(COLOUR, mean=(0.1, 0.2, 0.3), std=(0.5, 0.6, 0.7), colour="bgr")
    first = spread(make_teacher("plain", seed=0, spec=COLOUR))
    second = spread(make_teacher("plain", seed=1, spec=other))
    pixels = torch.rand((5, 3, 16, 16), generator=generator(0, "pixels"))
    shown = torch.from_numpy(COLOUR.normalise(pixels.numpy()))
    own = torch.from_numpy(other.normalise(pixels.flip(1).numpy()))
    wanted = (first(shown).softmax(1) + second(own).softmax(1)) / 2
    found = average_of([first, second])
    torch.testing.assert_close(found(shown).softmax(1), wanted)
    assert found.spec == first.spec


class Seen(nn.Module):
    """Keeps the images that it is shown."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.images = images
        return images.mean((2, 3)) @ torch.eye(images.shape[1], 4)


@pytest.mark.parametrize("side", [8, 24])
def test_a_member_of_another_size_sees_the_whole_image(side: int) -> None:
    spec = replace(COLOUR, height=side, width=side)
    seen = Seen()
    members = [
        FrozenTeacher(nn.Sequential(nn.Flatten(), nn.Linear(768, 4)), COLOUR, architecture="a"),
        FrozenTeacher(seen, spec, architecture="b"),
    ]
    ramp = torch.linspace(-1, 1, 16).expand(2, 3, 16, 16).contiguous()
    average_of(members)(ramp)
    assert seen.images.shape == (2, 3, side, side)
    inside = seen.images[..., 2:-2]
    steps = inside.diff(dim=-1)
    torch.testing.assert_close(steps, torch.full_like(steps, 2 / 15 * 16 / side))


def test_samplers_see_the_statistics_of_every_member(
    make_teacher: Make, images: torch.Tensor
) -> None:
    one, other = make_teacher("test_resnet", seed=0), make_teacher("test_resnet", seed=1)
    found = average_of([one, other])
    shown = images.clone().requires_grad_()
    with watch_statistics(found.network) as watch:
        (gradient,) = torch.autograd.grad(found(shown)[:, 0].sum(), shown)
        names = [layer.name for layer in watch.take()]
    assert (gradient != 0).any()
    assert sum(name.startswith("others.") for name in names) * 2 == len(names) > 2


def test_the_digest_is_of_every_member_and_of_their_order(make_teacher: Make) -> None:
    def digest(*seeds: int, spec: ImageSpec | None = None) -> str:
        last = make_teacher("plain", seed=seeds[-1], **({"spec": spec} if spec else {}))
        return average_of([*(make_teacher("plain", seed=s) for s in seeds[:-1]), last]).digest

    spec = make_teacher("plain").spec
    found = {
        digest(0, 1),
        digest(1, 0),
        digest(0, 2),
        digest(0, 1, 2),
        digest(0, 1, spec=replace(spec, mean=(0.1,))),
    }
    assert len(found) == 5
    assert digest(0, 1) in found


def test_a_student_inherits_from_the_first(make_teacher: Make, small_spec: ImageSpec) -> None:
    first, other = make_teacher("test_resnet", seed=1), make_teacher("plain", seed=2)
    config = StudentConfig(name="test_resnet")
    for members, filled in (([first, other], True), ([other, first], False)):
        student, _, _ = build_student(config, small_spec, seed=0)
        assert (inherit_weights(student, average_of(members).network) > 0) == filled
        if filled:
            for name, tensor in student.state_dict().items():
                assert torch.equal(tensor, first.network.state_dict()[name])


def test_a_member_of_one_batch_is_shown_the_images_in_parts(
    make_teacher: Make, images: torch.Tensor
) -> None:
    one, other = spread(make_teacher("plain", seed=0)), spread(make_teacher("plain", seed=1))
    plain = average_of([one, other])(images)
    network = FixedBatch(other.network, 4)
    parts = FrozenTeacher(network, other.spec, architecture="parts")
    torch.testing.assert_close(average_of([one, parts])(images), plain)
    assert fixed_batch(average_of([parts, one]).network) == 4


def test_a_mean_of_heads_is_no_linear_head(make_teacher: Make) -> None:
    members = [spread(make_teacher("plain", seed=seed)) for seed in range(2)]
    assert head_weights(members[0]) is not None
    assert head_weights(average_of(members)) is None


def test_names_of_classes_come_from_whoever_has_them(
    make_teacher: Make, small_spec: ImageSpec, caplog: pytest.LogCaptureFixture
) -> None:
    named = replace(small_spec, labels=("ant", "bee", "cat", "dog"))
    members = [make_teacher("plain", seed=0), make_teacher("plain", seed=1, spec=named)]
    assert average_of(members).spec.labels == named.labels
    assert "plain: without class names; its n-th logit is taken for the n-th class" in caplog.text


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"classes": 5}, "4 and 5 classes apart.*keep the same classes"),
        ({"head": "sigmoid"}, r"mean different things \(softmax and sigmoid\)"),
        ({"channels": 3, "mean": (0.5,) * 3, "std": (0.5,) * 3}, "images of 1 and 3 channels"),
        ({"labels": ("ant", "bee", "cot", "dog")}, "their class 2 'cat' and 'cot'"),
    ],
)
def test_teachers_without_a_common_answer_are_refused(
    make_teacher: Make, small_spec: ImageSpec, change: dict[str, Any], words: str
) -> None:
    named = replace(small_spec, labels=("ant", "bee", "cat", "dog"))
    other = replace(small_spec, **change)
    members = [make_teacher("plain", spec=named), make_teacher("plain", seed=1, spec=other)]
    with pytest.raises(UsageMistake, match=words):
        average_of(members)


def test_a_teacher_counts_once(make_teacher: Make) -> None:
    with pytest.raises(UsageMistake, match="are the same one; name each once"):
        average_of([make_teacher("plain"), make_teacher("plain", seed=1), make_teacher("plain")])


def test_several_are_loaded_by_reference_each_with_its_own_weights(
    tmp_path: Path, small: nn.Module
) -> None:
    torch.save(small.state_dict(), tmp_path / "small.pth")
    network = TeacherConfig(
        reference="timm:test_resnet", random_weights=True, num_classes=10,
        input_size=(1, 16, 16), mean=(0.5,), std=(0.5,),
    )  # fmt: skip
    weights = TeacherConfig(
        reference=str(tmp_path / "small.pth"), arch="test_resnet",
        input_size=(1, 28, 28), mean=(0.3,), std=(0.2,),
    )  # fmt: skip
    config = replace(network, also=(network, weights))
    found = load_teacher(config, device=CPU)
    assert found.spec.input_size == (1, 16, 16)
    assert found.architecture == "test_resnet + test_resnet + test_resnet"
    assert found.source.startswith("the average of ")
    assert "small.pth" in found.source
    alone = load_teacher(network, device=CPU)
    assert found.arguments["average_of"][0] == alone.digest
    assert len(set(found.arguments["average_of"])) == 3
    assert found.parameters_total == 3 * alone.parameters_total


def test_only_the_first_names_the_others() -> None:
    inner = TeacherConfig(reference="b.pth", also=(TeacherConfig(reference="c.pth"),))
    with pytest.raises(UsageMistake, match=r"also names b\.pth, which has an also of its own"):
        TeacherConfig(reference="a.pth", also=(inner,))
