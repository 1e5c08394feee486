from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from cake_edge.errors import NumericsError, TeacherError, UsageMistake
from cake_edge.seeding import generator
from cake_edge.teachers.adapters import innermost
from cake_edge.teachers.config import TeacherConfig
from cake_edge.teachers.frozen import FrozenTeacher
from cake_edge.teachers.network import Port, port_of, teacher_from_network
from cake_edge.teachers.stated import Stated

CONFIG = TeacherConfig(reference="vendor.onnx")
STATED = Stated(origin="the file's metadata", mean=(0.5,) * 3, std=(0.25,) * 3)
PORT = Port(channels=3, height=8, width=8)


class Vendor(nn.Module):
    """A classifier of 8 x 8 images of three colours, and what it does to its logits."""

    def __init__(
        self,
        after: Callable[[torch.Tensor], Any] = lambda logits: logits,
        *,
        classes: int = 4,
        batch: int | None = None,
        last: bool = False,
    ) -> None:
        super().__init__()
        random = generator(0, "vendor")
        self.weight = nn.Parameter(torch.randn((192, classes), generator=random) / 4)
        self.after, self.batch, self.last = after, batch, last

    def forward(self, images: torch.Tensor) -> Any:
        wanted = (8, 8, 3) if self.last else (3, 8, 8)
        if images.shape[1:] != wanted or self.batch not in (None, len(images)):
            raise RuntimeError(f"Expected {self.batch}, {wanted} and not {tuple(images.shape)}")
        images = images.permute(0, 3, 1, 2) if self.last else images
        return self.after(images.flatten(1) @ self.weight)


def taken(network: nn.Module, config: TeacherConfig = CONFIG, **given: Any) -> FrozenTeacher:
    stated, port = given.pop("stated", STATED), given.pop("port", PORT)
    return teacher_from_network(
        network, config, stated, port, architecture="onnx", source="vendor.onnx", **given
    )


@pytest.fixture
def images() -> torch.Tensor:
    return torch.randn((5, 3, 8, 8), generator=generator(1, "images"))


@pytest.fixture
def logits(images: torch.Tensor) -> torch.Tensor:
    return Vendor()(images).detach()


def test_a_network_that_needs_nothing_gets_nothing_around_it(images, logits):
    network = Vendor()
    teacher = taken(network, arguments={"opset": 17})
    assert teacher.network is network
    assert torch.equal(teacher(images), logits)
    assert (teacher.spec.input_size, teacher.spec.classes) == ((3, 8, 8), 4)
    assert (teacher.spec.head, teacher.architecture) == ("softmax", "onnx")
    assert (teacher.arguments, teacher.source) == ({"opset": 17}, "vendor.onnx")
    assert teacher.origins["classes"] == "the length of its answer"
    assert teacher.origins["mean and std"] == "the file's metadata"


@pytest.mark.parametrize(
    "after",
    [
        lambda z: z[:, :, None, None],
        lambda z: z[:, None, None],
        lambda z: (z, z[:, :2]),
        lambda z: {"logits": z},
        lambda z: SimpleNamespace(logits=z),
    ],
)
def test_logits_are_found_in_what_holds_them(after, images, logits):
    teacher = taken(Vendor(after))
    assert torch.equal(teacher(images), logits)
    assert teacher.spec.head == "softmax"


def test_a_softmax_is_undone(images, logits):
    teacher = taken(Vendor(lambda z: z.softmax(1)))
    assert teacher.spec.head == "softmax"
    torch.testing.assert_close(teacher(images).softmax(1), logits.softmax(1))
    assert not (teacher(images) >= 0).any()


def test_a_sigmoid_is_undone_and_its_labels_do_not_exclude_each_other(images, logits):
    teacher = taken(Vendor(torch.sigmoid))
    assert teacher.spec.head == "sigmoid"
    assert teacher.origins["head"] == "seen in its answer"
    torch.testing.assert_close(teacher(images), logits, rtol=1e-3, atol=1e-3)


def test_a_person_knows_better_what_an_answer_means(images, logits):
    several = taken(Vendor(), replace(CONFIG, head="sigmoid"))
    assert several.spec.head == "sigmoid"
    assert torch.equal(several(images), logits)
    even = taken(Vendor(lambda z: z.softmax(1)), replace(CONFIG, head="sigmoid"))
    torch.testing.assert_close(even(images).sigmoid(), logits.softmax(1), rtol=1e-3, atol=1e-5)
    small = Vendor(torch.sigmoid)
    plain = taken(small, replace(CONFIG, head="softmax"))
    assert plain.spec.head == "softmax"
    assert torch.equal(plain(images), small(images))


def test_a_file_that_tells_logits_is_believed(images):
    small = Vendor(torch.sigmoid)
    teacher = taken(small, stated=replace(STATED, logits=True))
    assert teacher.network is small
    assert teacher.spec.head == "softmax"
    assert taken(Vendor(), stated=replace(STATED, head="sigmoid")).spec.head == "sigmoid"


@pytest.mark.parametrize("after", [lambda z: z, torch.sigmoid, lambda z: z[:, 0]])
@pytest.mark.parametrize(
    ("config", "stated"),
    [
        (CONFIG, STATED),
        (replace(CONFIG, head="sigmoid"), STATED),
        (CONFIG, replace(STATED, head="sigmoid")),
    ],
)
def test_a_yes_or_no_becomes_two_classes_whoever_speaks_of_a_sigmoid(after, config, stated, images):
    if after(torch.zeros(2, 1)).ndim == 1:
        with pytest.raises(TeacherError, match=r"shape \[8\]"):
            taken(Vendor(after, classes=1), config, stated=stated)
        return
    teacher = taken(Vendor(after, classes=1), config, stated=stated)
    assert (teacher.spec.classes, teacher.spec.head) == (2, "softmax")
    yes = Vendor(classes=1)(images).sigmoid()
    torch.testing.assert_close(teacher(images).softmax(1)[:, 1:], yes, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("after", [lambda z: z, lambda z: (z,), lambda z: z.softmax(1)])
@pytest.mark.parametrize("batch", [1, 4])
def test_a_fixed_batch_is_no_hindrance(after, batch, images, logits):
    port = replace(PORT, batch=batch)
    teacher = taken(Vendor(after, batch=batch), port=port)
    torch.testing.assert_close(teacher(images).softmax(1), logits.softmax(1))


def test_a_batch_of_one_is_found_out_where_nobody_says_so(images, logits):
    teacher = taken(Vendor(batch=1))
    torch.testing.assert_close(teacher(images), logits)
    flat = taken(Vendor(lambda z: z.reshape(1, -1)))
    torch.testing.assert_close(flat(images), logits)


def test_channels_last_are_turned(images, logits):
    teacher = taken(Vendor(last=True), port=replace(PORT, channels_last=True))
    assert teacher.spec.input_size == (3, 8, 8)
    torch.testing.assert_close(teacher(images), logits)


def test_gradients_reach_the_image_through_all_that_is_around_a_network(images):
    port = replace(PORT, batch=4, channels_last=True)
    network = Vendor(lambda z: (z.softmax(1)[:, None, None],), batch=4, last=True)
    teacher = taken(network, port=port)
    shown = images.clone().requires_grad_()
    loss = nn.functional.cross_entropy(teacher(shown), torch.tensor([0, 1, 2, 3, 0]))
    (gradient,) = torch.autograd.grad(loss, shown)
    plain = images.clone().requires_grad_()
    loss = nn.functional.cross_entropy(Vendor()(plain), torch.tensor([0, 1, 2, 3, 0]))
    torch.testing.assert_close(gradient, torch.autograd.grad(loss, plain)[0])
    assert innermost(teacher.network) is network
    assert not any(parameter.requires_grad for parameter in teacher.parameters())


def test_the_size_comes_from_the_network_then_from_a_person_then_from_the_file():
    free = Port(channels=3)
    elsewhere = replace(STATED, size=(9, 9))
    assert taken(Vendor(), stated=elsewhere).spec.input_size == (3, 8, 8)
    found = taken(Vendor(), replace(CONFIG, input_size=(3, 8, 8)), port=free, stated=elsewhere)
    assert found.spec.input_size == (3, 8, 8)
    assert found.origins["input size"] == "as asked for"
    said = taken(Vendor(), port=free, stated=replace(STATED, size=(8, 8)))
    assert said.spec.input_size == (3, 8, 8)
    counted = taken(Vendor(), port=Port(), stated=replace(STATED, size=(8, 8)))
    assert counted.spec.channels == 3


@pytest.mark.parametrize(
    ("network", "given", "error", "said"),
    [
        (Vendor(), {"port": Port()}, TeacherError, r"which size.*\?, \?, \?\); give --input-size"),
        (Vendor(), {"port": Port(channels=3)}, TeacherError, r"3, \?, \?\); give --input-size"),
        (Vendor(), {"config": replace(CONFIG, input_size=(3, 9, 9))}, UsageMistake,
         r"takes images of \[C, H, W\] = \[3, 8, 8\], but --input-size asks for \[3, 9, 9\]"),
        (Vendor(), {"port": Port(channels=3, height=9, width=9)}, TeacherError,
         r"does not accept images of shape \[3, 9, 9\]: Expected .*give it with --input-size"),
        (Vendor(), {"stated": Stated(origin="the file")}, TeacherError,
         "the file does not say which mean and std"),
        (Vendor(), {"config": replace(CONFIG, num_classes=7)}, TeacherError,
         "tells 4 classes apart, but --num-classes asks for 7"),
        (Vendor(lambda z: z[:, :, None, None].expand(-1, -1, 2, 2)), {}, TeacherError,
         r"shape \[8, 4, 2, 2\], not with logits .* no classifier of images"),
        (Vendor(lambda z: {"boxes": z}), {}, TeacherError, "answers with a dict"),
        (Vendor(lambda z: z.repeat(2, 1)), {}, TeacherError, "8 images give 16 answers"),
        (Vendor(lambda z: z.log()), {}, NumericsError, "NaN or infinity"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_one_sentence(network, given, error, said):
    with pytest.raises(error, match=said):
        taken(network, **given)


@pytest.mark.parametrize(
    ("shape", "wanted"),
    [
        ((None, 3, 224, 192), Port(channels=3, height=224, width=192)),
        ((1, 3, None, None), Port(batch=1, channels=3)),
        ((4, 224, 192, 3), Port(batch=4, channels=3, height=224, width=192, channels_last=True)),
        ((None, None, None, 1), Port(channels=1, channels_last=True)),
        ((None, 1, 28, 3), Port(channels=1, height=28, width=3)),
        ((None, 4, 32, 32), Port(channels=4, height=32, width=32)),
    ],
)
def test_the_axes_of_a_port_are_known_by_the_number_of_colours(shape, wanted):
    assert port_of(shape, "it") == wanted


def test_a_port_has_four_axes():
    with pytest.raises(TeacherError, match=r"it takes an input of shape \['\?', 784\]"):
        port_of((None, 784), "it")
