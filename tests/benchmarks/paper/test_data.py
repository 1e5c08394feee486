import gzip
import io

import numpy as np
import pytest
from PIL import Image

from benchmarks.paper import data
from cake_edge.evaluate import open_dataset


def write_split(folder, name, images, labels):
    """Images and labels in the form of the Debian package."""
    head = np.array([2051, *images.shape], ">i4").tobytes()
    (folder / f"{name}-images-idx3-ubyte.gz").write_bytes(gzip.compress(head + images.tobytes()))
    head = np.array([2049, len(labels)], ">i4").tobytes()
    (folder / f"{name}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(head + labels.tobytes()))


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Six made-up images of each part of the package."""
    folder = tmp_path / "package"
    folder.mkdir()
    random = np.random.default_rng(0)
    for name in ("train", "t10k"):
        images = random.integers(0, 256, (6, 28, 28), np.uint8)
        write_split(folder, name, images, np.arange(6, dtype=np.uint8))
    monkeypatch.setattr(data, "DATA", folder)
    return folder


def test_images_are_brought_to_the_size_of_the_networks(package):
    images, labels = data.training_set("fashion-mnist")
    assert images.shape == (6, 32, 32, 1)
    assert images.dtype == np.uint8
    assert labels.tolist() == list(range(6))


def test_the_test_set_is_written_once_and_can_be_evaluated_on(package, tmp_path):
    path = data.evaluation_set("fashion-mnist", tmp_path / "run")
    assert len(open_dataset(path, data.FASHION_MNIST)) == 6
    written = path.stat().st_mtime_ns
    assert data.evaluation_set("fashion-mnist", tmp_path / "run") == path
    assert path.stat().st_mtime_ns == written


def test_what_is_not_on_this_machine_is_named(package, tmp_path, monkeypatch):
    assert data.absent("fashion-mnist") is None
    monkeypatch.setattr(data, "DATA", tmp_path / "nowhere")
    assert "dataset-fashion-mnist" in data.absent("fashion-mnist")
    there = tmp_path / "there"
    there.touch()
    monkeypatch.setattr(data, "CIFAR_TEST", there)
    monkeypatch.setattr(data, "VENDOR", tmp_path / "weights.th")
    lacking = data.absent("cifar10")
    assert "weights.th" in lacking
    assert "there" not in lacking.split(" in ")[0]
    monkeypatch.setattr(data, "VENDOR", there)
    assert data.absent("cifar10") is None


def test_a_teacher_that_is_trained_wants_training_images_and_no_vendor(tmp_path, monkeypatch):
    there = tmp_path / "there"
    there.touch()
    monkeypatch.setattr(data, "CIFAR_TEST", there)
    monkeypatch.setattr(data, "VENDOR", tmp_path / "weights.th")
    monkeypatch.setattr(data, "CIFAR_TRAIN", tmp_path / "train.npz")
    assert data.absent("cifar10", trained=True) == "train.npz in ../shared/data"
    monkeypatch.setattr(data, "CIFAR_TRAIN", there)
    assert data.absent("cifar10", trained=True) is None


def test_lite0_wants_photos_and_its_package(tmp_path, monkeypatch):
    monkeypatch.setattr(data, "PHOTOS", tmp_path / "photos")
    monkeypatch.setattr(data, "LITE0_PACKAGE", "no_such_package")
    lacking = data.absent("imagenet")
    assert "no_such_package" in lacking
    assert "photos in ../shared/data" in lacking
    (tmp_path / "photos").mkdir()
    monkeypatch.setattr(data, "LITE0_PACKAGE", "numpy")
    assert data.absent("imagenet") is None
    assert data.evaluation_set("imagenet", tmp_path) == tmp_path / "photos"


def test_training_images_of_cifar_are_decoded_each_from_its_own_bytes(tmp_path, monkeypatch):
    colours = np.array([[250, 0, 0], [0, 250, 0], [0, 0, 250]], np.uint8)
    stored = []
    for colour in colours:
        stream = io.BytesIO()
        Image.new("RGB", (32, 32), tuple(colour.tolist())).save(stream, "jpeg", quality=95)
        stored.append(np.frombuffer(stream.getvalue(), np.uint8))
    offsets = np.cumsum([0, *(len(one) for one in stored)])
    np.savez(tmp_path / "train.npz", jpeg=np.concatenate(stored), offsets=offsets,
             labels=np.array([4, 5, 6]))  # fmt: skip
    monkeypatch.setattr(data, "CIFAR_TRAIN", tmp_path / "train.npz")
    images, labels = data.training_set("cifar10")
    assert images.shape == (3, 32, 32, 3)
    assert np.abs(images.mean((1, 2)) - colours).max() < 4
    assert labels.tolist() == [4, 5, 6]
