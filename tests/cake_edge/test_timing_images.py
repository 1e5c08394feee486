"""Images for the clock, from files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cake_edge.errors import DatasetError, UsageMistake
from cake_edge.spec import ImageSpec
from cake_edge.timing_images import MOST, open_timing_images


def spec(channels: int = 3, height: int = 4, width: int = 5) -> ImageSpec:
    return ImageSpec(
        channels=channels, height=height, width=width, mean=(0.5,) * channels,
        std=(0.25,) * channels, classes=2,
    )  # fmt: skip


def npz(path: Path, images: Any) -> Path:
    np.savez(path, images=images)
    return path


def greys(folder: Path, *levels: int, size: tuple[int, int] = (9, 7)) -> Path:
    """One picture a level, named so that they sort as given."""
    for number, level in enumerate(levels):
        file = folder / str(number % 2) / f"{number:03}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", size, level).save(file)
    return folder


def test_pictures_of_any_size_and_depth_are_fitted(tmp_path: Path) -> None:
    found = open_timing_images(greys(tmp_path / "photos", 10, 20, 30)).take(2, spec())
    assert (found.shape, found.dtype) == ((2, 4, 5, 3), np.uint8)
    assert [int(image.max()) for image in found] == [10, 30]  # 0/000.png, 0/002.png
    assert found[0].min() == 10


def test_of_many_some_are_taken_from_the_whole(tmp_path: Path) -> None:
    images = np.arange(3 * MOST, dtype=np.uint8).reshape(-1, 1, 1, 1)
    found = open_timing_images(npz(tmp_path / "x.npz", images)).take(1000, spec(1, 1, 1))
    assert found.flatten().tolist() == list(range(0, 3 * MOST, 3))


def test_an_npz_that_fits_is_taken_as_it_is(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (3, 4, 5, 3), dtype=np.uint8)
    floats = np.random.default_rng(0).normal(size=(3, 3, 4, 5)).astype(np.float32)
    for images in (pixels, floats):
        source = open_timing_images(npz(tmp_path / "x.npz", images))
        for shape in (spec(), None):
            assert np.array_equal(source.take(2, shape), images[:2])


@pytest.mark.parametrize("shape", [(2, 8, 10), (2, 8, 10, 1), (2, 8, 10, 3)])
def test_pixels_of_an_npz_are_resized_and_coloured(tmp_path: Path, shape: tuple[int, ...]) -> None:
    source = open_timing_images(npz(tmp_path / "x.npz", np.full(shape, 77, np.uint8)))
    found = source.take(2, spec())
    assert found.shape == (2, 4, 5, 3)
    assert (found == 77).all()


def test_what_cannot_be_fitted_is_left_to_be_refused(tmp_path: Path) -> None:
    images = np.zeros((2, 8, 10, 5), np.uint8)
    found = open_timing_images(npz(tmp_path / "x.npz", images)).take(2, spec())
    assert found.shape == images.shape


def test_the_name_tells_equal_images_from_others(tmp_path: Path) -> None:
    levels = {"a": 1, "b": 1, "c": 2}
    folders = [greys(tmp_path / name / "photos", level) for name, level in levels.items()]
    same, again, other = (open_timing_images(folder).name for folder in folders)
    assert same == again != other
    assert same.startswith("photos (sha256 ")
    file = npz(tmp_path / "x.npz", np.zeros((1, 2, 2), np.uint8))
    assert open_timing_images(file).name.startswith("x.npz (sha256 ")


def test_pictures_need_a_card(tmp_path: Path) -> None:
    source = open_timing_images(greys(tmp_path, 1))
    with pytest.raises(UsageMistake, match="no cake_edge metadata"):
        source.take(1, None)
    with pytest.raises(DatasetError, match="takes 4"):
        source.take(1, spec(4))


def test_a_picture_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"no picture")
    with pytest.raises(DatasetError, match=r"a\.png cannot be read as an image"):
        open_timing_images(tmp_path).take(1, spec())


def test_what_holds_no_images_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.npz").write_text("images")
    np.savez(tmp_path / "other.npz", pictures=np.zeros(3))
    np.savez(tmp_path / "objects.npz", images=np.array([{}], dtype=object))
    for name, said in {
        "empty": "holds no image files",
        "text.npz": "neither a folder of images nor",
        "other.npz": "must hold `images`",
        "objects.npz": "cannot be read as an npz file",
        "none.npz": "holds no images",
    }.items():
        if name == "none.npz":
            npz(tmp_path / name, np.zeros((0, 4, 5), np.uint8))
        with pytest.raises(DatasetError, match=said):
            open_timing_images(tmp_path / name)
