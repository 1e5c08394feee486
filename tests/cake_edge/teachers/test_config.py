from __future__ import annotations

from typing import Any

import pytest

from cake_edge.errors import UsageMistake
from cake_edge.settings import settings_from_dict, settings_to_dict
from cake_edge.spec import COLOURS
from cake_edge.teachers.config import PRESETS, TeacherConfig


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"reference": " "}, "reference is empty"),
        ({"match": "shape"}, "allowed: name, order"),
        ({"mean": (0.5,)}, "--mean and --std"),
        ({"std": (0.5,)}, "--mean and --std"),
        ({"mean": (0.5,), "std": (0.5,), "preset": "imagenet"}, "leave those out, or it"),
        ({"colour": "bgr", "preset": "imagenet"}, "leave those out, or it"),
        ({"value_range": (255.0, 0.0)}, "what black becomes"),
        ({"colour": "grb"}, "allowed: rgb, bgr"),
        ({"head": "argmax"}, "allowed: softmax, sigmoid"),
        ({"classes": ("cat", " cat")}, "name each class once"),
        ({"classes": ("cat", "")}, "name each class once"),
        ({"classes": ("cat",)}, "name two at least, or add other"),
        ({"other": True}, "goes with classes"),
        ({"preset": "imagnet"}, "did you mean imagenet"),
        ({"crop": 0.0}, r"lie in \(0, 1\]"),
        ({"interpolation": "lanczos"}, "allowed: nearest, bilinear, bicubic"),
        ({"input_size": (3, 0, 224)}, "each at least 1"),
        ({"num_classes": 0}, "at least 1"),
        ({"arguments": {"num_classes": 3}}, "a field of its own"),
        ({"arguments": {"pretrained": True}}, "a field of its own"),
    ],
)
def test_a_value_that_cannot_be_is_refused(given: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageMistake, match=words):
        TeacherConfig(**{"reference": "timm:resnet18", **given})


def test_plain_values_and_back() -> None:
    config = TeacherConfig(
        reference="small.pth",
        arch="test_resnet",
        arguments={"stem_width": 16},
        input_size=(1, 28, 28),
        preset="zero-one",
        labels=("a", "b"),
    )
    assert settings_from_dict(TeacherConfig, settings_to_dict(config), "") == config


def test_presets_are_for_any_channels_or_for_three() -> None:
    assert all(
        len(p.mean) in (1, 3) and len(p.std) in (1, 3) and p.colour in COLOURS
        for p in PRESETS.values()
    )
