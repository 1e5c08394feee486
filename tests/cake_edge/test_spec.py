from __future__ import annotations

import json
from dataclasses import FrozenInstanceError, replace

import numpy as np
import pytest
import torch

from cake_edge.errors import UsageMistake
from cake_edge.spec import ImageSpec, decisions

SPEC = ImageSpec(
    channels=3,
    height=4,
    width=5,
    mean=(0.5, 0.4, 0.3),
    std=(0.1, 0.2, 0.4),
    classes=2,
    labels=("cat", "dog"),
    crop=0.875,
    interpolation="bilinear",
)


def test_normalise_is_per_channel_arithmetic():
    pixels = np.full((2, 3, 4, 5), 0.6)
    images = SPEC.normalise(pixels)
    assert images.dtype == np.float32
    assert images.shape == (2, 3, 4, 5)
    assert images[1, :, 3, 4] == pytest.approx([1.0, 1.0, 0.75], rel=1e-6)


def test_denormalise_undoes_normalise():
    pixels = np.random.default_rng(0).random((2, 3, 4, 5)).astype(np.float32)
    assert SPEC.denormalise(SPEC.normalise(pixels)) == pytest.approx(pixels, abs=1e-6)
    one = SPEC.normalise(pixels[0])
    assert one == pytest.approx(SPEC.normalise(pixels)[0])


def test_json_and_back_is_the_same_spec():
    assert ImageSpec.from_dict(json.loads(json.dumps(SPEC.to_dict()))) == SPEC
    unnamed = replace(SPEC, labels=None)
    assert ImageSpec.from_dict(unnamed.to_dict()) == unnamed


def test_input_size_is_channels_height_width():
    assert SPEC.input_size == (3, 4, 5)
    assert SPEC.to_dict()["input_size"] == [3, 4, 5]


def test_a_spec_cannot_be_changed():
    with pytest.raises(FrozenInstanceError):
        SPEC.height = 8  # type: ignore[misc]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"channels": 0}, "channels is 0; it must be at least 1"),
        ({"height": -1}, "height is -1"),
        ({"classes": 0}, "classes is 0"),
        ({"mean": (0.5,)}, "mean has 1 values for 3 channels"),
        ({"std": (0.1, 0.1)}, "std has 2 values for 3 channels"),
        ({"mean": (0.5, 0.5, float("nan"))}, "every value must be finite"),
        ({"std": (0.1, 0.1, 0.0)}, "every value must be positive"),
        ({"std": (0.1, 0.1, float("inf"))}, "every value must be positive and finite"),
        ({"std": (0.1, 0.1, float("nan"))}, "every value must be positive and finite"),
        ({"labels": ("cat",)}, "1 labels for 2 classes"),
        ({"crop": 0.0}, r"it must lie in \(0, 1\]"),
        ({"crop": 1.5}, "crop is 1.5"),
        ({"interpolation": "cubic"}, "allowed: nearest, bilinear, bicubic"),
    ],
)
def test_what_cannot_be_is_refused(change, message):
    with pytest.raises(UsageMistake, match=message):
        replace(SPEC, **change)


@pytest.mark.parametrize("key", ["input_size", "mean", "std", "classes"])
def test_a_missing_value_is_named_and_nothing_is_assumed(key):
    values = SPEC.to_dict()
    del values[key]
    with pytest.raises(UsageMistake, match=f"not a complete image spec.*{key}"):
        ImageSpec.from_dict(values)


@pytest.mark.parametrize(
    ("key", "value"),
    [("input_size", [3, 4]), ("input_size", 7), ("mean", None), ("std", ["a"]), ("labels", 3)],
)
def test_a_value_of_another_kind_is_refused(key, value):
    with pytest.raises(UsageMistake, match="not a complete image spec"):
        ImageSpec.from_dict({**SPEC.to_dict(), key: value})


@pytest.mark.parametrize("kind", [np.asarray, torch.tensor])
def test_a_softmax_decides_for_one_class_and_a_sigmoid_for_each_label(kind):
    logits = kind([[1.0, 2.0, -1.0], [-1.0, -2.0, -3.0]])
    assert decisions(logits, "softmax").tolist() == [1, 0]
    assert decisions(logits, "sigmoid").tolist() == [[True, True, False], [False] * 3]
