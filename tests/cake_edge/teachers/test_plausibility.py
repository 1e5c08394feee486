from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from cake_edge.spec import ImageSpec
from cake_edge.teachers import PRESETS, TeacherConfig, load_teacher
from cake_edge.teachers.frozen import FrozenTeacher
from cake_edge.teachers.plausibility import Plausibility, _information, check_preprocessing
from cake_edge.teachers.subset import keep_classes

Make = Callable[..., FrozenTeacher]


@pytest.fixture(scope="module")
def trained() -> FrozenTeacher:
    return load_teacher(TeacherConfig(reference="embedded"), device=torch.device("cpu"))


def told(teacher: FrozenTeacher, **given: Any) -> FrozenTeacher:
    """The same network, of which something else is said."""
    spec = dataclasses.replace(teacher.spec, **given)
    return FrozenTeacher(teacher.network, spec, architecture=teacher.architecture)


def of(found: Plausibility, name: str) -> Any:
    return next(row for row in found.rows if row.name == name)


def test_a_trained_teacher_is_told_the_right_thing_and_no_warning_comes(
    trained: FrozenTeacher,
) -> None:
    found = check_preprocessing(trained)
    assert found.warning is None
    assert [row.name for row in found.rows if row.stated] == ["as stated"]
    assert [row.score for row in found.rows] == sorted((r.score for r in found.rows), reverse=True)
    assert of(found, "as stated").score > 5 * of(found, "zero-255").score


def test_a_wrong_range_is_a_warning_that_names_the_preset(trained: FrozenTeacher) -> None:
    found = check_preprocessing(told(trained, mean=(0.0,), std=(1 / 255,)))
    assert of(found, "zero-255").stated
    assert found.warning is not None
    assert "--preset inception" in found.warning


def test_loud_answers_do_not_count_as_sure_ones(trained: FrozenTeacher) -> None:
    loud = nn.Sequential(trained.network, _Times(50.0))
    quiet = check_preprocessing(trained, images=32)
    noisy = check_preprocessing(FrozenTeacher(loud, trained.spec, architecture="x"), images=32)
    for row in quiet.rows:
        assert of(noisy, row.name).score == pytest.approx(row.score, abs=1e-3)
        assert of(noisy, row.name).confidence > row.confidence or row.confidence == 1


class _Times(nn.Module):
    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, logits: torch.Tensor) -> torch.Tensor:
        return logits * self.factor


def test_without_a_stated_preprocessing_the_presets_are_compared(trained: FrozenTeacher) -> None:
    found = check_preprocessing(trained, known=False, images=32)
    assert not any(row.stated for row in found.rows)
    grey = {name for name, preset in PRESETS.items() if len(preset.mean) == 1}
    assert {row.name for row in found.rows} == grey
    assert found.warning is None


def test_a_stated_preset_is_one_row(make_teacher: Make) -> None:
    spec = ImageSpec(
        channels=3, height=16, width=16, classes=4,
        mean=PRESETS["clip"].mean, std=PRESETS["clip"].std,
    )  # fmt: skip
    found = check_preprocessing(make_teacher(spec=spec), images=16)
    assert {row.name for row in found.rows} == set(PRESETS)
    assert [row.name for row in found.rows if row.stated] == ["clip"]


def test_answers_that_never_change_are_a_warning(make_teacher: Make) -> None:
    teacher = make_teacher("plain")
    with torch.no_grad():
        for parameter in teacher.parameters():
            parameter.mul_(1e-3)
    found = check_preprocessing(teacher, images=16)
    assert found.warning is not None
    assert "hardly depend on the image" in found.warning


def test_the_result_depends_on_the_seed_alone_and_is_plain(trained: FrozenTeacher) -> None:
    first, again, other = (
        check_preprocessing(trained, images=16, seed=seed).to_dict() for seed in (1, 1, 2)
    )
    assert first == again != other
    assert json.loads(json.dumps(first))["images"] == 16


def test_information_is_that_of_known_answers() -> None:
    softmax = ImageSpec(channels=1, height=1, width=1, mean=(0.0,), std=(1.0,), classes=2)
    labels = dataclasses.replace(softmax, head="sigmoid")
    sure = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    log2 = torch.log(torch.tensor(2.0)).item()
    assert _information(sure, softmax) == pytest.approx(log2)
    assert _information(torch.full((4, 2), 0.5), softmax) == 0
    assert _information(sure[:1].repeat(4, 1), softmax) == 0
    assert _information(sure, labels) == pytest.approx(2 * log2)
    assert _information(torch.tensor([[1.0, 1.0], [0.0, 1.0]]), labels) == pytest.approx(log2)


def test_labels_that_do_not_exclude_each_other_are_judged_one_by_one(make_teacher: Make) -> None:
    spec = ImageSpec(
        channels=1, height=16, width=16, mean=(0.5,), std=(0.5,), classes=4, head="sigmoid"
    )
    found = check_preprocessing(make_teacher("plain", spec=spec), images=32)
    assert all(row.score >= 0 for row in found.rows)
    assert of(found, "inception").stated


@pytest.mark.parametrize(("classes", "telling"), [(3, False), (4, True)])
def test_of_few_classes_nothing_is_concluded(
    trained: FrozenTeacher, classes: int, telling: bool
) -> None:
    few = keep_classes(trained, [str(index) for index in (0, 8, 9, 5)[:classes]], other=False)
    found = check_preprocessing(told(few, mean=(0.0,), std=(1 / 255,)), images=32)
    assert found.telling is telling
    assert (found.warning is not None) is telling
