from __future__ import annotations

import logging

import pytest

from cake_edge.errors import TeacherError, UsageMistake
from cake_edge.teachers.config import TeacherConfig
from cake_edge.teachers.preprocessing import architecture_defaults, image_spec


def test_a_tag_that_timm_does_not_have_is_answered_with_those_it_has() -> None:
    with pytest.raises(UsageMistake, match=r"test_resnet\.r160_in1k"):
        architecture_defaults("test_resnet.nope")


def test_a_size_that_was_not_given_is_said_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    defaults = architecture_defaults("test_resnet")
    with caplog.at_level(logging.INFO, logger="cake_edge"):
        image_spec(TeacherConfig(reference="x"), defaults, channels=3, classes=2, trusted=True)
    assert "3x160x160 is the architecture's default" in caplog.text


def test_without_defaults_the_size_must_be_given() -> None:
    config = TeacherConfig(reference="x", preset="inception")
    with pytest.raises(TeacherError, match="--input-size"):
        image_spec(config, {}, channels=3, classes=2, trusted=False)


def test_what_was_said_wins_over_timm() -> None:
    config = TeacherConfig(
        reference="x",
        input_size=(3, 64, 48),
        mean=(0.1, 0.2, 0.3),
        std=(0.4, 0.5, 0.6),
        labels=("a", "b"),
        crop=0.8,
        interpolation="nearest",
    )
    spec = image_spec(
        config, architecture_defaults("test_resnet"), channels=3, classes=2, trusted=True
    )
    assert spec.to_dict() == {
        "input_size": [3, 64, 48],
        "mean": [0.1, 0.2, 0.3],
        "std": [0.4, 0.5, 0.6],
        "classes": 2,
        "labels": ["a", "b"],
        "crop": 0.8,
        "interpolation": "nearest",
    }


def test_an_interpolation_we_do_not_have_becomes_bicubic() -> None:
    defaults = {**architecture_defaults("test_resnet"), "interpolation": "random"}
    config = TeacherConfig(reference="x")
    spec = image_spec(config, defaults, channels=3, classes=2, trusted=True)
    assert spec.interpolation == "bicubic"


def test_labels_must_be_as_many_as_classes() -> None:
    config = TeacherConfig(reference="x", labels=("a",))
    with pytest.raises(UsageMistake, match="1 labels for 2 classes"):
        image_spec(
            config, architecture_defaults("test_resnet"), channels=3, classes=2, trusted=True
        )
