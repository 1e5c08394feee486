"""The real images that teachers learn from and students are measured on; nothing else sees them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from benchmarks.results_files import ROOT
from benchmarks.train_fashion_mnist_teacher import DATA, LABELS, read_split
from cake_edge.fitting import fitted
from cake_edge.provenance import atomic_path
from cake_edge.spec import ImageSpec

__all__ = ["CIFAR10", "FASHION_MNIST", "VENDOR", "absent", "evaluation_set", "training_set"]

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
VENDOR = SHARED / "vendor-resnet20-cifar10" / "resnet20-12fca82f.th"


def absent(dataset: str) -> str | None:
    """Says what a row would need of this machine and does not find; None where all is there."""
    if dataset == "fashion-mnist":
        return None if DATA.is_dir() else "the Debian package dataset-fashion-mnist"
    missing = [path.name for path in (CIFAR_TEST, VENDOR) if not path.is_file()]
    return f"{' and '.join(missing)} in ../shared/data" if missing else None


def training_set() -> tuple[Bytes, Bytes]:
    """Returns Fashion-MNIST's 60 000 images [N, 32, 32, 1] and labels [N], for teachers alone."""
    return _resized("train")


def evaluation_set(dataset: str, folder: Path) -> Path:
    """Returns the file of test images for `cake_edge.evaluate`, made in `folder` where need be."""
    if dataset != "fashion-mnist":
        return CIFAR_TEST
    path = folder / "fashion-mnist-test.npz"
    if not path.exists():
        images, labels = _resized("t10k")
        with atomic_path(path) as temporary, temporary.open("wb") as stream:
            np.savez(stream, images=images, labels=labels.astype(np.int64))
    return path


def _resized(name: str) -> tuple[Bytes, Bytes]:
    images, labels = read_split(DATA, name)
    return np.stack([fitted(Image.fromarray(image), FASHION_MNIST) for image in images]), labels
