from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from cake_edge.errors import ArtifactError, DatasetError, UsageMistake
from cake_edge.spec import ImageSpec
from exporters.latency.inputs import (
    INPUTS,
    brought_images,
    given_images,
    input_size,
    made_images,
    repeated,
)

SPEC = ImageSpec(
    channels=3, height=4, width=5, mean=(0.5, 0.4, 0.3), std=(0.2, 0.25, 0.5), classes=2
)
BGR = ImageSpec(
    channels=3, height=4, width=5, mean=(0.3, 0.4, 0.5), std=(0.5, 0.25, 0.2), classes=2,
    colour="bgr",
)  # fmt: skip


@pytest.mark.parametrize("kind", INPUTS)
def test_every_kind_is_what_a_session_takes_and_is_decided_by_its_seed(kind):
    found = made_images(kind, SPEC.input_size, 6, seed=1, spec=SPEC)
    assert (found.shape, found.dtype) == ((6, 3, 4, 5), np.float32)
    assert found.flags.c_contiguous
    assert np.array_equal(found, made_images(kind, SPEC.input_size, 6, seed=1, spec=SPEC))
    other = made_images(kind, SPEC.input_size, 6, seed=2, spec=SPEC)
    assert np.array_equal(found, other) == (kind == "zeros")


def test_pixels_lie_where_the_model_s_pixels_lie():
    found = made_images("pixels", SPEC.input_size, 500, spec=SPEC)
    pixels = SPEC.denormalise(found)
    assert 0 <= pixels.min() < 0.01
    assert 0.99 < pixels.max() < 1.0001
    with pytest.raises(UsageMistake, match="take random"):
        made_images("pixels", SPEC.input_size, 5)


def test_floats_are_taken_as_they_are():
    array = np.random.default_rng(0).normal(size=(2, 3, 4, 5)).astype(np.float32)
    found = given_images(array[:, :, :, ::-1], SPEC.input_size)
    assert np.array_equal(found, array[:, :, :, ::-1])
    assert found.flags.c_contiguous
    array[:] = 0
    assert found.any()


@pytest.mark.parametrize("spec", [SPEC, BGR])
def test_pixels_are_normalised_as_the_card_says(spec):
    pixels = np.zeros((1, 4, 5, 3), np.uint8)
    pixels[..., 0] = 255
    found = given_images(pixels, spec.input_size, spec=spec)
    red = 0 if spec.colour == "rgb" else 2
    assert found.shape == (1, 3, 4, 5)
    assert found[0, red, 1, 1] == pytest.approx((1 - 0.5) / 0.2)
    assert found[0, 1, 1, 1] == pytest.approx((0 - 0.4) / 0.25)
    assert found.flags.c_contiguous


def test_grey_pixels_need_no_axis_of_channels():
    grey = ImageSpec(channels=1, height=4, width=5, mean=(0.5,), std=(0.5,), classes=2)
    found = given_images(np.full((3, 4, 5), 255, np.uint8), grey.input_size, spec=grey)
    assert found.shape == (3, 1, 4, 5)
    assert np.all(found == 1)


@pytest.mark.parametrize(
    ("array", "said"),
    [
        (np.zeros((1, 3, 4, 5)), "float64"),
        (np.zeros((3, 4, 5), np.float32), "shape \\[3, 4, 5\\]"),
        (np.zeros((1, 3, 5, 4), np.float32), "takes \\[3, 4, 5\\]"),
        (np.zeros((1, 3, 4, 5), np.uint8), "1 images of \\[5, 3, 4\\]"),
        (np.zeros((0, 3, 4, 5), np.float32), "0 images"),
        (np.full((1, 3, 4, 5), np.nan, np.float32), "NaN"),
        (np.zeros((1, 3, 4, 5), object), "object"),
    ],
)
def test_what_no_model_takes_is_refused(array, said):
    with pytest.raises(DatasetError, match=said):
        given_images(array, SPEC.input_size, spec=SPEC)


def test_pixels_without_a_card_are_refused():
    with pytest.raises(UsageMistake, match="give float32"):
        given_images(np.zeros((1, 4, 5, 3), np.uint8), SPEC.input_size)


def test_images_begin_again_where_they_end():
    images = np.arange(3, dtype=np.float32).reshape(3, 1, 1, 1)
    assert repeated(images, 7).flatten().tolist() == [0, 1, 2, 0, 1, 2, 0]
    assert repeated(images, 2).flatten().tolist() == [0, 1]
    with pytest.raises(UsageMistake, match="0 of 3"):
        repeated(images, 0)


def test_an_unknown_kind_is_answered_with_those_there_are():
    with pytest.raises(UsageMistake, match="did you mean random"):
        made_images("randon", SPEC.input_size, 1)
    with pytest.raises(UsageMistake, match="count is 0"):
        made_images("zeros", SPEC.input_size, 0)


def test_the_size_is_the_card_s_or_else_the_graph_s():
    path = Path("model.onnx")
    carded = SimpleNamespace(card=SimpleNamespace(spec=SPEC), input_shape=("n", 9, 9, 9))
    assert input_size(path, carded) == (3, 4, 5)
    bare = SimpleNamespace(card=None, input_shape=("n", 3, 6, 7))
    assert input_size(path, bare) == (3, 6, 7)
    open_ended = SimpleNamespace(card=None, input_shape=("n", 3, "height", "width"))
    with pytest.raises(ArtifactError, match=r"model\.onnx does not fix the size"):
        input_size(path, open_ended)


def test_brought_images_are_asked_for_by_spec_and_fill_the_batch():
    asked = []

    def brought(count, spec):
        asked.append((count, spec))
        return (
            np.full((2, 4, 5, 3), 255, np.uint8) * np.array([0, 1], np.uint8)[:, None, None, None]
        )

    found = brought_images(brought, SPEC.input_size, 5, spec=SPEC)
    assert asked == [(5, SPEC)]
    assert found.shape == (5, 3, 4, 5)
    assert [bool(image[0, 0, 0] > 0) for image in found] == [False, True, False, True, False]
