from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from cake_edge.errors import ArtifactError, DatasetError, NumericsError, UsageMistake
from cake_edge.evaluate import (
    Dataset,
    evaluate,
    evaluate_many,
    open_dataset,
    read_image,
)
from cake_edge.spec import OTHER, ImageSpec
from cake_edge.tally import wilson_interval

Array = npt.NDArray[Any]


def spec(size: int = 8, channels: int = 3, classes: int = 4, **given: Any) -> ImageSpec:
    return ImageSpec(
        channels=channels,
        height=size,
        width=size,
        mean=(0.5,) * channels,
        std=(0.25,) * channels,
        classes=classes,
        **given,
    )


def noise(*shape: int) -> Array:
    return np.random.default_rng(5).integers(0, 256, shape, dtype=np.uint8)


def npz(path: Path, images: Array, labels: Any, **more: Any) -> Path:
    np.savez(path, images=images, labels=np.asarray(labels), **more)
    return path


def folder(path: Path, names: dict[str, int], size: tuple[int, int] = (8, 8)) -> Path:
    """One PNG per count and class folder; the n-th image of a class is of the grey level n."""
    for name, count in names.items():
        (path / name).mkdir(parents=True)
        for number in range(count):
            Image.new("RGB", size, (number,) * 3).save(path / name / f"{number}.png")
    return path


def all_of(dataset: Dataset, batch: int = 3) -> tuple[Array, Array]:
    parts = list(dataset.batches(batch))
    return np.concatenate([p[0] for p in parts]), np.concatenate([p[1] for p in parts])


def by_pixel(classes: int = 4) -> Any:
    """A model whose highest logit is the first pixel, as a number from 0 to 255."""

    def infer(images: Array) -> Array:
        first = np.round((images[:, 0, 0, 0] * 0.25 + 0.5) * 255)
        logits: Array = -np.abs(np.arange(classes) - first[:, None]).astype(np.float32)
        return logits

    return infer


def test_images_of_the_right_size_are_used_as_they_are(tmp_path: Path) -> None:
    images = noise(5, 8, 8, 3)
    dataset = open_dataset(npz(tmp_path / "x.npz", images, [0, 1, 2, 3, 0]), spec(crop=0.5))
    found, labels = all_of(dataset)
    expected = (images.transpose(0, 3, 1, 2) / 255.0 - 0.5) / 0.25
    assert found.dtype == np.float32
    assert np.allclose(found, expected, atol=1e-6)
    assert labels.tolist() == [0, 1, 2, 3, 0]


@pytest.mark.parametrize("shape", [(2, 8, 8), (2, 8, 8, 1)])
def test_grey_images_become_colour_without_a_resize(tmp_path: Path, shape: tuple[int, ...]) -> None:
    images = noise(*shape)
    found, _ = all_of(open_dataset(npz(tmp_path / "x.npz", images, [0, 1]), spec(crop=0.5)))
    plain = (images.reshape(2, 1, 8, 8) / 255.0 - 0.5) / 0.25
    assert found.shape == (2, 3, 8, 8)
    assert np.allclose(found, np.repeat(plain, 3, axis=1), atol=1e-6)


def test_colour_becomes_luminance(tmp_path: Path) -> None:
    images = np.zeros((1, 8, 8, 3), dtype=np.uint8)
    images[..., 1] = 200
    found, _ = all_of(open_dataset(npz(tmp_path / "x.npz", images, [0]), spec(channels=1)))
    assert found.shape == (1, 1, 8, 8)
    assert found[0, 0, 0, 0] * 0.25 + 0.5 == pytest.approx(0.587 * 200 / 255, abs=1 / 255)


def test_another_size_is_resized_by_the_shorter_side_and_cropped_in_the_middle(
    tmp_path: Path,
) -> None:
    image = noise(20, 30, 3)
    (tmp_path / "0").mkdir()
    Image.fromarray(image).save(tmp_path / "0" / "x.png")
    wanted = spec(size=8, crop=0.8, interpolation="bilinear")
    found, _ = all_of(open_dataset(tmp_path, wanted))
    resized = Image.fromarray(image).resize((15, 10), Image.Resampling.BILINEAR)
    middle = np.asarray(resized)[1:9, 4:12]
    assert np.allclose(found[0], (middle.transpose(2, 0, 1) / 255.0 - 0.5) / 0.25, atol=1e-6)


@pytest.mark.parametrize("size", [(20, 30), (30, 20), (8, 100), (5, 5)])
def test_the_result_has_the_shape_of_the_model_whatever_the_image(
    tmp_path: Path, size: tuple[int, int]
) -> None:
    wide = ImageSpec(channels=1, height=6, width=10, mean=(0.5,), std=(0.5,), classes=2, crop=0.875)
    found, _ = all_of(open_dataset(folder(tmp_path, {"1": 1}, size), wide))
    assert found.shape == (1, 1, 6, 10)


def test_pictures_are_treated_as_by_timm_and_torchvision(tmp_path: Path) -> None:
    pytest.importorskip("torchvision", reason="compares with torchvision's transforms")
    from timm.data import create_transform

    for number, shape in enumerate([(300, 411, 3), (257, 256, 3), (90, 61, 3)]):
        image = Image.fromarray(noise(*shape))
        (tmp_path / str(number)).mkdir()
        image.save(tmp_path / str(number) / "x.png")
        wanted = spec(size=64, crop=0.875)
        theirs = create_transform(
            (3, 64, 64), interpolation="bicubic", mean=(0.5,) * 3, std=(0.25,) * 3, crop_pct=0.875
        )
        ours = all_of(open_dataset(tmp_path, wanted))[0][number]
        assert np.abs(ours - np.asarray(theirs(image))).max() < 1e-6


def test_a_folder_is_named_by_the_class_index(tmp_path: Path) -> None:
    path = folder(tmp_path, {"0003": 1, "0001": 2, "10": 1})
    (path / "0001" / "notes.txt").write_text("no image")
    (path / ".cache").mkdir()
    _, labels = all_of(open_dataset(path, spec(classes=11)))
    assert labels.tolist() == [1, 1, 3, 10]


def test_classes_txt_maps_folders_to_lines(tmp_path: Path) -> None:
    path = folder(tmp_path, {"cat": 1, "dog": 2})
    (path / "classes.txt").write_text("dog\nbird\ncat\nfish\n\n")
    _, labels = all_of(open_dataset(path, spec()))
    assert labels.tolist() == [0, 0, 2]


SELECTION = {"classes": 2, "source_classes": (5, 2)}
WITH_OTHER = {"classes": 3, "source_classes": (5, 2, OTHER)}


@pytest.mark.parametrize(
    ("given", "wanted", "places"),
    [(SELECTION, [1, 0, 1], [2, 5, 6]), (WITH_OTHER, [2, 2, 1, 2, 2, 0, 1], list(range(7)))],
)
def test_a_selection_of_classes_is_shown_the_whole_s_images_of_them(
    tmp_path: Path, given: Any, wanted: list[int], places: list[int]
) -> None:
    images = np.zeros((7, 8, 8, 3), dtype=np.uint8)
    images[:, 0, 0, 0] = np.arange(7)
    data = npz(tmp_path / "x.npz", images, [0, 1, 2, 3, 4, 5, 2])
    found, labels = all_of(open_dataset(data, spec(**given)))
    assert labels.tolist() == wanted
    assert np.round((found[:, 0, 0, 0] * 0.25 + 0.5) * 255).tolist() == places


def test_how_many_images_are_left_out_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data = npz(tmp_path / "x.npz", noise(5, 8, 8, 3), [5, 5, 2, 3, 4])
    with caplog.at_level("INFO"):
        open_dataset(data, spec(**WITH_OTHER))
        assert caplog.messages == []
        open_dataset(data, spec(**SELECTION))
    assert caplog.messages == [
        "2 of 5 images are of classes that were left out, and are not counted"
    ]


def test_folders_are_named_in_the_whole_s_numbering(tmp_path: Path) -> None:
    numbered = folder(tmp_path / "a", {"0002": 2, "3": 1, "5": 1})
    _, labels = all_of(open_dataset(numbered, spec(**SELECTION)))
    assert labels.tolist() == [1, 1, 0]
    named = folder(tmp_path / "b", {"cat": 2, "dog": 1, "eel": 1})
    (named / "classes.txt").write_text("a\nb\ncat\ndog\ne\neel\ng\n")
    found, labels = all_of(open_dataset(named, spec(**SELECTION)))
    assert labels.tolist() == [1, 1, 0]
    assert np.round((found[:, 0, 0, 0] * 0.25 + 0.5) * 255).tolist() == [0, 1, 0]


@pytest.mark.parametrize(
    ("labels", "given", "words"),
    [
        ([0, 1, 3], SELECTION, "no images of the model's classes, which are 5, 2 of those"),
        ([-1, 2, 5], WITH_OTHER, "labels from -1; give whole numbers from 0"),
    ],
)
def test_data_without_the_selected_classes_is_refused(
    tmp_path: Path, labels: list[int], given: Any, words: str
) -> None:
    data = npz(tmp_path / "x.npz", noise(3, 8, 8, 3), labels)
    with pytest.raises(DatasetError, match=words):
        open_dataset(data, spec(**given))


def test_a_list_of_the_selected_classes_alone_is_refused(tmp_path: Path) -> None:
    path = folder(tmp_path, {"cat": 1, "dog": 1})
    (path / "classes.txt").write_text("cat\ndog\n")
    with pytest.raises(DatasetError, match=r"names 2 classes, but .* selected from more than 5"):
        open_dataset(path, spec(**SELECTION))


@pytest.mark.parametrize("grey", [False, True])
@pytest.mark.parametrize("as_file", [False, True])
def test_blue_comes_first_where_the_model_wants_it(
    tmp_path: Path, as_file: bool, grey: bool
) -> None:
    """A model that likes red, and its twin with the channels the other way round."""
    red = np.zeros((3, 8, 8, 3), dtype=np.uint8)
    for place, colour in enumerate([(250, 40, 10), (10, 250, 40), (40, 10, 250)]):
        red[place] = colour
    red = red[..., :1] if grey else red
    if as_file:
        for place, image in enumerate(red):
            (tmp_path / str(place)).mkdir()
            picture = Image.fromarray(image[..., 0] if grey else image)
            picture.save(tmp_path / str(place) / "x.png")
        path = tmp_path
    else:
        path = npz(tmp_path / "x.npz", red, [0, 1, 2])
    rgb = ImageSpec(channels=3, height=8, width=8, mean=(0.1, 0.2, 0.3), std=(0.4, 0.5, 0.6),
                    classes=3)  # fmt: skip
    bgr = replace(rgb, mean=rgb.mean[::-1], std=rgb.std[::-1], colour="bgr")
    weight = np.array([[3.0, -1.0, -2.0], [0.0, 1.0, 0.0], [-1.0, 0.5, 2.0]], dtype=np.float32)

    def answers(wanted: ImageSpec, weight: Array) -> Array:
        images, _ = all_of(open_dataset(path, wanted))
        return images.mean(axis=(2, 3)) @ weight

    one, twin = answers(rgb, weight), answers(bgr, weight[::-1])
    assert np.allclose(one, twin, atol=1e-5)
    assert grey or not np.allclose(one, answers(bgr, weight), atol=0.1)


def test_a_limit_is_spread_over_all_classes(tmp_path: Path) -> None:
    images = np.zeros((40, 8, 8, 3), dtype=np.uint8)
    images[:, 0, 0, 0] = np.arange(40)
    dataset = open_dataset(npz(tmp_path / "x.npz", images, np.arange(40) // 10), spec())
    found, labels = all_of(dataset.limited(8))
    assert labels.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    assert np.round((found[:, 0, 0, 0] * 0.25 + 0.5) * 255).tolist() == list(range(0, 40, 5))
    assert dataset.limited(None) is dataset
    assert dataset.limited(99) is dataset
    with pytest.raises(UsageMistake, match="at least 1"):
        dataset.limited(0)


@pytest.fixture
def known(tmp_path: Path) -> Dataset:
    """Eight images; a model by first pixel is right on the first six."""
    images = np.zeros((8, 8, 8, 3), dtype=np.uint8)
    labels = np.arange(8) % 7
    images[:, 0, 0, 0] = labels
    images[6:, 0, 0, 0] = [0, 6]
    return open_dataset(npz(tmp_path / "x.npz", images, labels), spec(classes=7))


@pytest.mark.parametrize("batch", [1, 3, 64])
def test_shares_are_percentages_and_do_not_depend_on_the_batch(known: Dataset, batch: int) -> None:
    found = evaluate(by_pixel(7), known, batch=batch)
    assert found.n == 8
    assert found.top1 == 75.0
    assert found.top5 == 75.0
    assert found.agreement is None
    assert found.interval95 == wilson_interval(6, 8)
    assert found.seconds > 0


def test_top5_holds_the_five_highest_logits(tmp_path: Path) -> None:
    data = npz(tmp_path / "x.npz", np.zeros((7, 8, 8, 3), dtype=np.uint8), np.arange(7))
    found = evaluate(by_pixel(7), open_dataset(data, spec(classes=7)))
    assert found.top1 == pytest.approx(100 / 7)
    assert found.top5 == pytest.approx(500 / 7)


def test_equal_logits_are_not_all_right(tmp_path: Path) -> None:
    data = npz(tmp_path / "x.npz", np.zeros((7, 8, 8, 3), dtype=np.uint8), np.arange(7))
    dataset = open_dataset(data, spec(classes=7))
    found = evaluate(lambda images: np.zeros((len(images), 7), dtype=np.float32), dataset)
    assert found.top1 == pytest.approx(100 / 7)
    assert found.top5 == pytest.approx(500 / 7)


def test_agreement_is_with_the_other_model_and_not_with_the_labels(known: Dataset) -> None:
    def shifted(images: Array) -> Array:
        logits: Array = by_pixel(7)(images)
        half = len(logits) // 2
        return np.concatenate([logits[:half], np.roll(logits[half:], 1, axis=1)])

    found = evaluate(shifted, known, against=by_pixel(7))
    assert found.agreement == 50.0


def test_agreement_on_labels_is_counted_label_by_label(tmp_path: Path) -> None:
    data = npz(tmp_path / "x.npz", np.zeros((4, 8, 8, 3), dtype=np.uint8), [0, 1, 2, 3])
    wanted = np.array([[3.0, 2.0, -1.0, -2.0]], dtype=np.float32)
    given = np.array([[3.0, -2.0, 1.0, -2.0]], dtype=np.float32)

    def constant(logits: Array) -> Any:
        return lambda images: np.repeat(logits, len(images), axis=0)

    several = open_dataset(data, spec(head="sigmoid"))
    found = evaluate(constant(given), several, against=constant(wanted), batch=3)
    assert (found.agreement, found.overlap) == (50.0, pytest.approx(100 / 3))
    assert (found.top1, found.top5) == (25.0, 100.0)
    one = evaluate(constant(given), open_dataset(data, spec()), against=constant(wanted))
    assert (one.agreement, one.overlap) == (100.0, None)


def test_several_models_share_one_pass(known: Dataset) -> None:
    reads: list[int] = []
    read = known.read

    def counted(place: int) -> Any:
        reads.append(place)
        return read(place)

    object.__setattr__(known, "read", counted)
    told: list[tuple[str, int, int]] = []
    found = evaluate_many(
        {"a": by_pixel(7), "b": lambda images: -by_pixel(7)(images)},
        known,
        reference="a",
        batch=5,
        progress=lambda task, done, total, note="": told.append((task, done, total)),
    )
    assert reads == list(range(8))
    assert told == [("evaluate", 5, 8), ("evaluate", 8, 8)]
    assert found["a"].agreement == 100.0
    assert found["b"].agreement == 0.0
    assert found["a"].to_dict()["interval95"] == list(wilson_interval(6, 8))


def test_a_nan_names_the_model_and_the_image(known: Dataset) -> None:
    def broken(images: Array) -> Array:
        logits: Array = by_pixel(7)(images)
        logits[1, 3] = np.nan
        return logits

    with pytest.raises(NumericsError, match="student answers image 1 with NaN"):
        evaluate_many({"student": broken}, known, batch=4)


def test_logits_of_another_shape_are_refused(known: Dataset) -> None:
    with pytest.raises(ArtifactError, match=r"shape \[8, 9\], not with logits of shape \[8, 7\]"):
        evaluate(by_pixel(9), known)


def test_the_reference_must_be_one_of_the_models(known: Dataset) -> None:
    with pytest.raises(UsageMistake, match="no model 'c'"):
        evaluate_many({"a": by_pixel(7)}, known, reference="c")


def test_a_batch_of_none_is_refused(known: Dataset) -> None:
    with pytest.raises(UsageMistake, match="the batch is 0"):
        evaluate(by_pixel(7), known, batch=0)


@pytest.mark.parametrize(
    ("images", "labels", "words"),
    [
        (noise(3, 8, 8, 3).astype(np.float32), [0, 1, 2], "float32 .* give uint8"),
        (noise(3, 8), [0, 1, 2], "give uint8"),
        (noise(3, 8, 8, 3), [0, 1], "one whole number an image"),
        (noise(3, 8, 8, 3), [0.0, 1.0, 2.0], "one whole number an image"),
        (noise(3, 8, 8, 3), [0, 1, 4], r"from 0 to 4, .* tells 4 classes apart"),
        (noise(3, 8, 8, 3), [0, 1, -1], "from -1 to 1"),
        (noise(3, 8, 8, 4), [0, 1, 2], "only 1 and 3 can be converted"),
        (noise(0, 8, 8, 3), np.zeros(0, dtype=int), "holds no images"),
    ],
)
def test_an_npz_that_does_not_fit_says_how(
    tmp_path: Path, images: Array, labels: Any, words: str
) -> None:
    with pytest.raises(DatasetError, match=words):
        open_dataset(npz(tmp_path / "x.npz", images, labels), spec())


def test_an_npz_must_have_both_arrays(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", images=noise(1, 8, 8, 3))
    with pytest.raises(DatasetError, match="must hold `images` and `labels`"):
        open_dataset(tmp_path / "x.npz", spec())


def test_an_npz_with_pickled_objects_is_refused(tmp_path: Path) -> None:
    labels = np.array([{"a": 1}], dtype=object)
    np.savez(tmp_path / "x.npz", images=noise(1, 8, 8, 3), labels=labels)
    with pytest.raises(DatasetError, match="allow_pickle=False"):
        open_dataset(tmp_path / "x.npz", spec())


@pytest.mark.parametrize("content", [b"", b"hello", b"PK\x03\x04 cut short"])
def test_other_bytes_are_one_sentence(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.npz").write_bytes(content)
    with pytest.raises(DatasetError, match="neither an image folder nor a readable npz") as caught:
        open_dataset(tmp_path / "x.npz", spec())
    assert "allow_pickle" not in str(caught.value)


def test_a_path_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="nowhere does not exist"):
        open_dataset(tmp_path / "nowhere", spec())


def test_a_folder_without_classes_says_how_it_should_look(tmp_path: Path) -> None:
    Image.new("L", (8, 8)).save(tmp_path / "x.png")
    with pytest.raises(DatasetError, match="no folders of classes"):
        open_dataset(tmp_path, spec())


def test_a_folder_without_images_is_empty(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="holds no images"):
        open_dataset(folder(tmp_path, {"0": 0, "1": 0}), spec())


@pytest.mark.parametrize(
    ("names", "classes", "words"),
    [
        ({"cat": 1}, None, "'cat' .* is not a class index; .*classes.txt"),
        ({"4": 1}, None, "labels from 4 to 4, but the model tells 4 classes apart"),
        ({"cat": 1}, "dog\ncat\n", "names 2 classes, but the model tells 4 apart"),
        ({"cat": 1}, "a\nb\nc\nd\n", "does not name the folder 'cat'"),
        ({"cat": 1}, "cat\nb\ncat\nd\n", "names 'cat' twice"),
    ],
)
def test_a_folder_that_does_not_fit_says_how(
    tmp_path: Path, names: dict[str, int], classes: str | None, words: str
) -> None:
    path = folder(tmp_path, names)
    if classes is not None:
        (path / "classes.txt").write_text(classes)
    with pytest.raises(DatasetError, match=words):
        open_dataset(path, spec())


@pytest.mark.parametrize("content", [b"", b"hello", b"\x89PNG\r\n\x1a\n", None])
def test_an_image_that_cannot_be_read_is_named(tmp_path: Path, content: bytes | None) -> None:
    path = folder(tmp_path, {"0": 2}, size=(64, 64))
    broken = path / "0" / "1.png"
    broken.write_bytes(broken.read_bytes()[:60] if content is None else content)
    dataset = open_dataset(path, spec())
    with pytest.raises(DatasetError, match=r"1\.png cannot be read as an image"):
        evaluate(by_pixel(), dataset)


def test_pictures_have_one_or_three_channels(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="image files have 1 or 3 channels"):
        open_dataset(folder(tmp_path, {"0": 1}), spec(channels=4))


def test_many_channels_are_taken_from_an_npz_of_the_right_size(tmp_path: Path) -> None:
    data = npz(tmp_path / "x.npz", noise(2, 8, 8, 5), [0, 1])
    assert all_of(open_dataset(data, spec(channels=5)))[0].shape == (2, 5, 8, 8)
    with pytest.raises(DatasetError, match="only those of 1 or 3 channels can be resized"):
        open_dataset(data, spec(channels=5, size=9))


def test_it_runs_where_neither_torch_nor_timm_nor_onnx_is() -> None:
    code = (
        "import sys, cake_edge.evaluate\n"
        "sys.exit(', '.join({'torch', 'timm', 'onnx', 'onnxruntime'} & set(sys.modules)) or None)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_picture_of_sixteen_bits_is_scaled_and_not_clipped(tmp_path: Path) -> None:
    Image.fromarray(np.full((8, 8), 0x8080, np.uint16)).save(tmp_path / "x.png")
    assert np.asarray(read_image(tmp_path / "x.png")).tolist() == [[128] * 8] * 8
    Image.fromarray(np.full((8, 8), 100, np.int32)).save(tmp_path / "x.tiff")
    with pytest.raises(DatasetError, match=r"x\.tiff cannot be read .*save it with 8 or 16"):
        read_image(tmp_path / "x.tiff")
