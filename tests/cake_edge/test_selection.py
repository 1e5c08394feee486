import numpy as np
import pytest
import torch

from cake_edge.networks import build_network
from cake_edge.selection import own_labels, own_logits
from cake_edge.spec import OTHER, ImageSpec
from cake_edge.teachers.frozen import FrozenTeacher
from cake_edge.teachers.subset import keep_classes

SPEC = ImageSpec(channels=1, height=32, width=32, mean=(0.5,), std=(0.5,), classes=6)


@pytest.mark.parametrize(
    ("chosen", "wanted"),
    [
        ((4, 0), [1, -1, -1, -1, 0, 1]),
        ((4, 0, OTHER), [1, 2, 2, 2, 0, 1]),
        ((0, 1, 2, 3, 4), [0, 1, 2, 3, 4, 0]),
    ],
)
def test_labels_of_the_whole_become_the_selection_s(chosen, wanted):
    assert own_labels(np.array([0, 1, 2, 3, 4, 0]), chosen).tolist() == wanted


@pytest.mark.parametrize("other", [False, True])
def test_logits_of_the_whole_become_what_the_selected_teacher_answers(other):
    network = build_network("test_resnet", channels=1, classes=6, seed=1)
    teacher = FrozenTeacher(network, SPEC, architecture="test_resnet")
    few = keep_classes(teacher, ["4", "0"], other=other)
    images = torch.randn((3, 1, 32, 32), generator=torch.Generator().manual_seed(0)) * 10
    found = own_logits(teacher(images).numpy(), few.spec.source_classes)
    assert found.dtype == np.float32
    assert found == pytest.approx(few(images).numpy(), abs=1e-5)
