"""Metadata of known exporters is understood; of strangers nothing is run, and nothing breaks."""

from __future__ import annotations

import pytest

from cake_edge.teachers.onnx_metadata import stated_by_metadata


@pytest.mark.parametrize(
    ("metadata", "labels"),
    [
        ({"names": "{0: 'tench', 1: \"lion's mane\"}"}, ("tench", "lion's mane")),
        ({"names": "{1: 'b', 0: 'a'}"}, ("a", "b")),
        ({"names": "['a', 'b']"}, ("a", "b")),
        ({"labels": '["a", "b, c"]'}, ("a", "b, c")),
        ({"id2label": '{"0": "a", "1": "b"}'}, ("a", "b")),
        ({"classes": '{"b": 1, "a": 0}'}, ("a", "b")),
        ({"Labels": "a, b ,c"}, ("a", "b", "c")),
        ({"character": "0\n90\n180\n270"}, ("0", "90", "180", "270")),
        ({"model_info labels": "dark_red blue"}, ("dark_red", "blue")),
        ({"labels": "a\x1b[31m\nb"}, ("a[31m", "b")),
        ({"labels": "{0: 'a', 2: 'b'}", "classes": "x,y"}, ("x", "y")),
        ({"labels": "[[1], [2]]"}, None),
        ({"labels": "alone"}, None),
        ({"labels": ""}, None),
    ],
)
def test_labels_are_read_in_every_form_they_are_written_in(metadata, labels):
    assert stated_by_metadata(metadata).labels == labels


@pytest.mark.parametrize(
    ("metadata", "mean", "std"),
    [
        ({"mean": "0.485, 0.456, 0.406", "std": "[0.229 0.224 0.225]"},
         (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        ({"mean": "[127.5]", "std": "[127.5]"}, (0.5,), (0.5,)),
        ({"model_info mean_values": "0", "model_info scale_values": "255"}, (0.0,), (1.0,)),
        ({"model_info mean_values": "1 1 1", "model_info scale_values": "1 1 1"},
         (1 / 255,) * 3, (1 / 255,) * 3),
        ({"Image.NominalPixelRange": "NominalRange_0_255"}, (0.0,), (1 / 255,)),
        ({"Image.NominalPixelRange": "normalized_1_1"}, (0.5,), (0.5,)),
        ({"author": "Ultralytics", "task": "classify"}, (0.0,), (1.0,)),
        ({"author": "Ultralytics", "task": "detect"}, None, None),
        ({"mean": "0.5", "std": "0"}, None, None),
        ({"mean": "0.5"}, None, None),
        ({"mean": "1e999", "std": "1"}, None, None),
        ({"mean": "__import__('os')", "std": "1"}, None, None),
        ({"Image.NominalPixelRange": "whatever"}, None, None),
    ],
)  # fmt: skip
def test_mean_and_std_are_those_of_pixels_in_0_1(metadata, mean, std):
    stated = stated_by_metadata(metadata)
    assert (stated.mean, stated.std) == (
        pytest.approx(mean) if mean else None,
        pytest.approx(std) if std else None,
    )


@pytest.mark.parametrize(
    ("metadata", "colour"),
    [
        ({"Image.BitmapPixelFormat": "Bgr8"}, "bgr"),
        ({"image.bitmappixelformat": "RGB8"}, "rgb"),
        ({"Image.BitmapPixelFormat": "Gray8"}, None),
        ({"model_info reverse_input_channels": "True"}, "rgb"),
        ({"model_info reverse_input_channels": "False"}, "bgr"),
        ({"color": "BGR"}, "bgr"),
        ({}, None),
    ],
)
def test_the_order_of_channels_is_read(metadata, colour):
    assert stated_by_metadata(metadata).colour == colour


def test_the_size_of_images_and_many_labels_are_read():
    assert stated_by_metadata({"imgsz": "[224, 192]"}).size == (224, 192)
    assert stated_by_metadata({"imgsz": "[99999999, 1]"}).size is None
    assert stated_by_metadata({"imgsz": "[0.5, 1]"}).size is None
    assert stated_by_metadata({"model_info multilabel": "True"}).head == "sigmoid"


@pytest.mark.parametrize(
    "value",
    [
        "(" * 100_000,
        "[" * 100_000 + "]" * 100_000,
        "{" + "0:" * 50_000 + "}",
        "[" + "-" * 200_000 + "1]",
        "[" + "1+" * 100_000 + "1]",
        "['" + "a" * 3_000_000,
        "__import__('os').system('touch /tmp/x')",
        "{0: __import__('os'), 1: 2}",
        "{'a': 'b', 'c': [1]}",
        '{"a": 1, "b": 1}',
        "[nan, inf]",
        "{[]: 1}",
        "\x00\x00",
        "9" * 500_000,
    ],
)
@pytest.mark.parametrize(
    "key", ["names", "labels", "mean", "std", "imgsz", "Image.BitmapPixelFormat"]
)
def test_no_value_breaks_anything_or_is_run(key, value, monkeypatch):
    monkeypatch.setattr("os.system", lambda *_: pytest.fail("it was run"))
    stated = stated_by_metadata({key: value})
    assert stated.mean is None
    assert stated.size is None
    assert stated.labels is None or all(isinstance(label, str) for label in stated.labels)
