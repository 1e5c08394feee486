import gzip

import numpy as np
import pytest

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
    images, labels = data.training_set()
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
