import hashlib
import json
import re
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from cake_edge.errors import DatasetError, UsageMistake
from cake_edge.priors import PRIORS, user_images
from cake_edge.priors.own_images import OWN, SHAPE
from cake_edge.seeding import generator

RED, GREEN, BLUE = (200, 10, 10), (10, 200, 10), (10, 10, 200)


@pytest.fixture
def folder(tmp_path):
    """Three plain pictures of three sizes and kinds, one of them in a folder below."""
    place = tmp_path / "photos"
    (place / "more").mkdir(parents=True)
    Image.new("RGB", (40, 30), RED).save(place / "a.png")
    Image.new("RGB", (9, 70), GREEN).save(place / "b.jpg", quality=95)
    Image.new("RGBA", (64, 64), (*BLUE, 255)).save(place / "more" / "c.PNG")
    (place / "notes.txt").write_text("no picture")
    Image.new("RGB", (4, 4)).save(place / ".hidden.png")
    return place


@pytest.fixture
def photo(tmp_path):
    """Brightness rises from left to right, and more slowly from top to bottom."""
    across, down = np.arange(200), np.arange(120).reshape(-1, 1)
    Image.fromarray((across + down * 0.4).astype(np.uint8)).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


def drawn(name, count, spec, seed="x"):
    return PRIORS[str(name)](count, spec, generator(0, seed))


@pytest.mark.parametrize("size", [(3, 32, 32), (3, 16, 40), (1, 28, 28), (3, 90, 20)])
def test_views_have_the_shape_of_the_classifier_s_images(folder, photo, spec_of, size):
    for name in (f"folder:{folder}", f"photo:{photo}"):
        images = drawn(name, 7, spec_of(*size))
        assert images.shape == (7, *size)
        assert images.dtype == torch.float32
        assert images.is_contiguous()
        assert images.min() >= 0
        assert images.max() <= 1


def test_every_picture_is_shown_once_before_any_again(folder, spec_of):
    images = drawn(f"folder:{folder}", 8, spec_of(3, 16, 16))
    strongest = images.mean((2, 3)).argmax(1)
    assert sorted(strongest[:3].tolist()) == [0, 1, 2]
    assert sorted(strongest[3:6].tolist()) == [0, 1, 2]
    assert len(set(strongest[6:].tolist())) == 2


def test_colours_stand_in_the_classifier_s_order(folder, spec_of):
    rgb = drawn(f"folder:{folder}", 6, spec_of(3, 16, 16))
    bgr = drawn(f"folder:{folder}", 6, spec_of(3, 16, 16, "bgr"))
    assert torch.equal(rgb, bgr.flip(1))
    assert torch.tensor(RED).div(255).sub(rgb.mean((2, 3))).abs().amax(1).min() < 1e-6


def test_views_are_crops_of_all_sizes_and_half_of_them_flipped(photo, spec_of):
    images = drawn(f"photo:{photo}", 600, spec_of(1, 24, 24))[:, 0] * 255
    rise = (images[:, :, -1] - images[:, :, 0]).mean(1)  # brightness is place: the crop's width
    assert 0.4 < (rise < 0).double().mean() < 0.6
    widths, heights = rise.abs() * 24 / 23, (images[:, -1] - images[:, 0]).mean(1) / 0.4 * 24 / 23
    share = widths * heights / (120 * 120)
    assert OWN["photo"] * 0.9 < share.quantile(0.02) < 0.04
    assert share.quantile(0.99) > 0.7
    assert (widths / heights).median() == pytest.approx(1, abs=0.05)
    assert (widths / heights).quantile(0.95) < SHAPE * 1.02
    centres = torch.where(rise < 0, images.flip(-1)[:, 0, 0], images[:, 0, 0])
    assert centres.min() < 20
    assert centres.max() > 150


def test_a_folder_s_pictures_stay_recognisable(tmp_path, photo, spec_of):
    (tmp_path / "one").mkdir()
    shutil.copy(photo, tmp_path / "one" / "a.png")
    images = drawn(f"folder:{tmp_path / 'one'}", 200, spec_of(1, 24, 24))[:, 0] * 255
    assert (images[:, :, -1] - images[:, :, 0]).mean(1).abs().min() > 45


def test_views_depend_on_the_generator_and_the_files_alone(folder, spec_of, tmp_path):
    moved = tmp_path / "elsewhere" / "photos"
    shutil.copytree(folder, moved)
    one = drawn(f"folder:{folder}", 9, spec_of(3, 16, 16))
    assert torch.equal(one, drawn(f"folder:{moved}", 9, spec_of(3, 16, 16)))
    assert not torch.equal(one, drawn(f"folder:{folder}", 9, spec_of(3, 16, 16), "y"))


def test_a_camera_s_turn_is_undone(tmp_path, spec_of):
    pixels = np.zeros((60, 40), np.uint8)
    pixels[:30] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # to be shown turned by a quarter
    Image.fromarray(pixels).save(tmp_path / "a.jpg", exif=exif, quality=95)
    images = drawn(f"photo:{tmp_path / 'a.jpg'}", 50, spec_of(1, 16, 16))[:, 0]
    assert (images[:, 0] - images[:, -1]).abs().max() < 0.05
    assert (images[:, :, 0] - images[:, :, -1]).abs().max() > 0.9


def test_the_declaration_names_no_place_and_every_byte(folder, tmp_path):
    said = user_images(f"folder:{folder}")
    listed = [
        [name, hashlib.sha256((folder / name).read_bytes()).hexdigest()]
        for name in ("a.png", "b.jpg", "more/c.PNG")
    ]
    text = json.dumps(listed, separators=(",", ":"))
    assert said == {
        "path": "photos",
        "count": 3,
        "sha256": hashlib.sha256(text.encode()).hexdigest(),
    }
    moved = tmp_path / "elsewhere" / "photos"
    shutil.copytree(folder, moved)
    assert user_images(f"folder:{moved}") == said
    (folder / "a.png").rename(folder / "z.png")
    assert user_images(f"folder:{folder}") != said


def test_the_declaration_of_a_photo_is_of_that_file(photo):
    said = user_images(f"photo:{photo}")
    assert said["path"] == "photo.png"
    assert said["count"] == 1


@pytest.mark.parametrize("content", [b"", b"no picture", None])
def test_a_damaged_picture_is_named_in_one_sentence(folder, spec_of, content):
    bad = folder / "bad.png"
    bad.write_bytes((folder / "a.png").read_bytes()[:60] if content is None else content)
    with pytest.raises(DatasetError, match=rf"{re.escape(str(bad))} cannot be read as an image"):
        drawn(f"folder:{folder}", 4, spec_of(3, 16, 16))


def test_a_folder_without_pictures_is_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("no picture")
    with pytest.raises(
        DatasetError, match=r"holds no images; put some into it, of the kinds \.bmp"
    ):
        PRIORS[f"folder:{tmp_path}"]


def test_a_classifier_of_other_channels_is_told_so(folder, spec_of):
    with pytest.raises(UsageMistake, match="1 or 3 channels, but the model takes 4"):
        drawn(f"folder:{folder}", 2, spec_of(4, 16, 16))


def test_no_views_of_a_folder_are_none(folder, spec_of):
    assert drawn(f"folder:{folder}", 0, spec_of(3, 16, 16)).shape == (0, 3, 16, 16)


@pytest.mark.parametrize("kind", ["png", "tiff", "pgm"])
def test_sixteen_bits_become_eight_and_not_white(tmp_path, spec_of, kind):
    Image.fromarray(np.full((20, 20), 0x8080, np.uint16)).save(tmp_path / f"grey.{kind}")
    images = drawn(f"folder:{tmp_path}", 2, spec_of(3, 16, 16))
    assert images.mean() == pytest.approx(128 / 255, abs=1e-3)


@pytest.mark.parametrize("numbers", [np.float32(0.5), np.int32(100)])
def test_numbers_that_do_not_say_what_is_white_are_refused_by_name(tmp_path, spec_of, numbers):
    Image.fromarray(np.full((20, 20), numbers)).save(tmp_path / "x.tiff")
    with pytest.raises(DatasetError, match=r"x\.tiff cannot be read .*save it with 8 or 16"):
        drawn(f"folder:{tmp_path}", 2, spec_of(1, 16, 16))
