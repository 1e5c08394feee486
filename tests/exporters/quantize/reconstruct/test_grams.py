from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from reference.rounding import patches as slow_patches

from cake_edge.errors import NumericsError, PoolError
from exporters.quantize.reconstruct.grams import Gram, Patches, gather_grams

GEOMETRIES = [
    # kernel, strides, dilations, pads (above, left, below, right), groups
    ((3, 3), (1, 1), (1, 1), (1, 1, 1, 1), 1),
    ((3, 3), (2, 2), (1, 1), (0, 0, 1, 1), 6),
    ((3, 2), (1, 2), (2, 1), (2, 0, 2, 0), 2),
    ((1, 1), (2, 2), (1, 1), (0, 0, 0, 0), 1),
    ((5, 3), (3, 1), (1, 2), (2, 1, 0, 2), 3),
]


def values(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def convolution(geometry):
    kernel, strides, dilations, pads, groups = geometry
    return Patches(
        source="input",
        groups=groups,
        kernel=kernel,
        strides=strides,
        dilations=dilations,
        pads=pads,
    )


def everything(patches, array):
    return patches.cut(array, 10_000, np.random.default_rng(0))


@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_patches_are_those_of_torch_unfold(geometry):
    kernel, strides, dilations, (top, left, bottom, right), groups = geometry
    images = values(2, 6, 9, 11)
    padded = torch.nn.functional.pad(torch.from_numpy(images), (left, right, top, bottom))
    wanted = torch.nn.functional.unfold(padded, kernel, dilations, 0, strides).numpy()
    # [N, C * offsets, places] → [groups, N * places, C of a group * offsets]
    count, width, places = wanted.shape
    wanted = wanted.reshape(count, groups, width // groups, places).transpose(1, 0, 3, 2)
    given = everything(convolution(geometry), images)
    np.testing.assert_array_equal(given, wanted.reshape(groups, count * places, -1))


@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_patches_are_those_of_the_definition(geometry):
    image = values(6, 7, 8)
    given = everything(convolution(geometry), image[None])
    np.testing.assert_array_equal(given, np.array(slow_patches(image, *geometry), np.float32))


def test_of_many_places_a_seeded_choice_is_taken():
    patches = convolution(GEOMETRIES[0])
    images = values(2, 6, 9, 11)
    whole = everything(patches, images).reshape(2, 99, 54)
    some = patches.cut(images, 10, np.random.default_rng(4)).reshape(2, 10, 54)
    again = patches.cut(images, 10, np.random.default_rng(4)).reshape(2, 10, 54)
    np.testing.assert_array_equal(some, again)
    for image in range(2):
        known = {vector.tobytes() for vector in whole[image]}
        assert len({vector.tobytes() for vector in some[image]} & known) == 10


def test_vectors_of_a_matrix_product_are_its_rows():
    array = values(2, 5, 7)
    patches = Patches(source="input")
    np.testing.assert_array_equal(everything(patches, array), array.reshape(1, 10, 7))
    assert patches.cut(array, 3, np.random.default_rng(0)).shape == (1, 6, 7)


@pytest.mark.parametrize("groups", [1, 3])
def test_moments_in_parts_are_those_of_all_vectors(groups):
    vectors = values(groups, 50, 4) + 2
    gram = Gram()
    for start in range(0, 50, 20):
        gram.add(vectors[:, start : start + 20])
    exact = vectors.astype(np.float64)
    np.testing.assert_allclose(gram.mean, exact.mean(axis=1), rtol=1e-6)
    for group in range(groups):
        rows = exact[group]
        np.testing.assert_allclose(
            gram.moments(centred=False)[group], rows.T @ rows / 50, rtol=1e-4, atol=1e-4
        )
        np.testing.assert_allclose(
            gram.moments(centred=True)[group], np.cov(rows.T, ddof=0), atol=1e-4
        )


def doubled():
    """input → doubled → logits."""
    graph = helper.make_graph(
        [
            helper.make_node("Mul", ["input", "two"], ["double"]),
            helper.make_node("Relu", ["double"], ["logits"]),
        ],
        "g",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ("batch", 4, 16, 16))],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ("batch", 4, 16, 16))],
        [numpy_helper.from_array(np.float32(2), "two")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)])
    model.ir_version = 10
    return model


def test_gathering_looks_at_the_tensors_named_and_at_the_input_itself():
    images = [values(3, 4, 16, 16, seed=seed) for seed in range(2)]
    wanted = [Patches(source=name, kernel=(1, 1), groups=1) for name in ("input", "double")]
    grams = gather_grams(doubled(), wanted, lambda: iter(images), positions=256)
    rows = np.concatenate(images).transpose(0, 2, 3, 1).reshape(-1, 4).astype(np.float64)
    moments = rows.T @ rows / len(rows)
    for patches, factor in zip(wanted, (1, 4), strict=True):
        np.testing.assert_allclose(
            grams[patches].moments(centred=False)[0], factor * moments, rtol=1e-4, atol=1e-5
        )


def test_memory_does_not_grow_with_the_number_of_images():
    def peak(count):
        tracemalloc.start()
        try:
            gather_grams(
                doubled(),
                [Patches(source="double", kernel=(3, 3))],
                lambda: (values(8, 4, 16, 16, seed=seed) for seed in range(count)),
                positions=64,
            )
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak(2)
    assert peak(24) < 1.2 * peak(3)


def test_images_are_needed():
    with pytest.raises(PoolError, match="no images"):
        gather_grams(doubled(), [Patches(source="double")], lambda: iter([]), positions=4)


def test_a_nan_is_told_with_its_tensor():
    images = values(1, 4, 16, 16)
    images[0, 0, 0, 0] = np.nan
    with pytest.raises(NumericsError, match="'double'"):
        gather_grams(doubled(), [Patches(source="double")], lambda: iter([images]), positions=9999)
