from __future__ import annotations

import logging

import pytest

from cake_edge.errors import TeacherError, UsageMistake
from cake_edge.teachers import stated as stated_by
from cake_edge.teachers.config import TeacherConfig
from cake_edge.teachers.preprocessing import image_spec
from cake_edge.teachers.stated import Stated, stated_by_timm


def test_a_tag_that_timm_does_not_have_is_answered_with_those_it_has() -> None:
    with pytest.raises(UsageMistake, match=r"test_resnet\.r160_in1k"):
        stated_by_timm("test_resnet.nope", trusted=True)


def test_a_size_that_was_not_given_is_said_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    stated, _ = stated_by_timm("test_resnet", trusted=True)
    with caplog.at_level(logging.INFO, logger="cake_edge"):
        image_spec(TeacherConfig(reference="x"), stated, channels=3, classes=2)
    assert "160x160 comes from timm's configuration" in caplog.text


def test_without_defaults_the_size_must_be_given() -> None:
    config = TeacherConfig(reference="x", preset="inception")
    with pytest.raises(TeacherError, match="--input-size"):
        image_spec(config, Stated(origin="the file"), channels=3, classes=2)


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
    stated, _ = stated_by_timm("test_resnet", trusted=True)
    spec, origins = image_spec(config, stated, channels=3, classes=2)
    assert set(origins.values()) == {"as asked for", "seen in its answer"}
    assert spec.to_dict() == {
        "input_size": [3, 64, 48],
        "mean": [0.1, 0.2, 0.3],
        "std": [0.4, 0.5, 0.6],
        "classes": 2,
        "labels": ["a", "b"],
        "crop": 0.8,
        "interpolation": "nearest",
    }


def test_an_interpolation_we_do_not_have_becomes_bicubic(monkeypatch: pytest.MonkeyPatch) -> None:
    odd = {"mean": (0.5,) * 3, "std": (0.5,) * 3, "interpolation": "random"}
    monkeypatch.setattr(stated_by, "_pretrained_cfg", lambda name: odd)
    stated, _ = stated_by_timm("test_resnet", trusted=True)
    config = TeacherConfig(reference="x", input_size=(3, 8, 8))
    spec, _ = image_spec(config, stated, channels=3, classes=2)
    assert spec.interpolation == "bicubic"


def test_labels_must_be_as_many_as_classes() -> None:
    config = TeacherConfig(reference="x", labels=("a",))
    with pytest.raises(UsageMistake, match="1 labels for 2 classes"):
        image_spec(config, stated_by_timm("test_resnet", trusted=True)[0], channels=3, classes=2)


@pytest.mark.parametrize(
    ("said", "mean", "std", "colour"),
    [
        ({"preset": "inception"}, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5), "rgb"),
        ({"value_range": (-1.0, 1.0)}, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5), "rgb"),
        ({"preset": "zero-255"}, (0.0, 0.0, 0.0), (1 / 255,) * 3, "rgb"),
        ({"value_range": (0.0, 255.0)}, (0.0, 0.0, 0.0), (1 / 255,) * 3, "rgb"),
        (
            {"value_range": (0.0, 255.0), "mean": (51.0, 102.0, 127.5), "std": (255.0, 51.0, 25.5),
             "colour": "bgr"},
            (0.2, 0.4, 0.5), (1.0, 0.2, 0.1), "bgr",
        ),
        ({"preset": "caffe"}, (103.939 / 255, 116.779 / 255, 123.68 / 255), (1 / 255,) * 3, "bgr"),
    ],
)  # fmt: skip
def test_every_way_to_say_it_ends_in_mean_and_std_of_pixels(said, mean, std, colour) -> None:
    config = TeacherConfig(reference="x", input_size=(3, 8, 8), **said)
    spec, _ = image_spec(config, Stated(origin="the file"), channels=3, classes=2)
    assert spec.mean == pytest.approx(mean)
    assert spec.std == pytest.approx(std)
    assert spec.colour == colour


def test_what_the_file_says_is_used_and_named_as_its_origin() -> None:
    stated = Stated(
        origin="its metadata", size=(8, 6), mean=(0.1,), std=(0.2,), labels=("a", "b"), crop=0.9
    )
    spec, origins = image_spec(TeacherConfig(reference="x"), stated, channels=1, classes=2)
    assert (spec.input_size, spec.mean, spec.labels, spec.crop) == (
        (1, 8, 6),
        (0.1,),
        ("a", "b"),
        0.9,
    )
    assert origins["mean and std"] == origins["labels"] == "its metadata"
