from __future__ import annotations

import pytest
import torch

from cake_edge.errors import TeacherError
from cake_edge.teachers.program_file import rehearsal
from cake_edge.teachers.program_file.rehearsal import bounded, shapes_of


def test_an_ordinary_network_passes():
    with bounded(2):
        images = torch.empty(2, 3, 32, 32, device="meta")
        weight = shapes_of({"w": torch.ones(8, 3, 3, 3)})["w"]
        assert torch.conv2d(images, weight).shape == (2, 8, 30, 30)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda x: x.expand(1 << 20, 1 << 20), "elements in one result"),
        (lambda x: torch.cdist(x.expand(1 << 15, 1), x.expand(1 << 15, 1)), "elements in one"),
        (lambda x: [x.expand(1 << 26).clone() for _ in range(300)], "elements in its results"),
        (lambda x: [x.expand(8192, 16384) @ x.expand(16384, 8192) for _ in range(3)], "floating"),
    ],
)
def test_what_would_exhaust_the_machine_is_refused_without_doing_it(make, reason):
    with pytest.raises(TeacherError, match=reason), bounded(1):
        make(torch.empty(1, device="meta"))


def test_operators_are_counted(monkeypatch):
    monkeypatch.setattr(rehearsal, "MOST_STEPS", 100)
    one = torch.empty(1, device="meta")
    with pytest.raises(TeacherError, match="more than 100 operators"), bounded(1):
        [one.relu() for _ in range(101)]


def test_more_images_may_need_more():
    with bounded(1 << 6):
        torch.empty(1, device="meta").expand(1 << 30)
