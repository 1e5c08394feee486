"""Accuracy on real images: the one place of the package that reads a data set.

Needs numpy and Pillow alone, so that it also runs on a device. Every share is in percent.
"""

from __future__ import annotations

import logging
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from cake_edge.errors import ArtifactError, DatasetError, NumericsError, UsageMistake
from cake_edge.fitting import MODES, Pixels, as_pixels, fitted, in_eight_bits
from cake_edge.progress import Progress, silent
from cake_edge.selection import own_labels
from cake_edge.spec import ImageSpec
from cake_edge.tally import Evaluation, Tally

__all__ = [
    "Dataset",
    "Evaluation",
    "Infer",
    "evaluate",
    "evaluate_many",
    "open_dataset",
    "read_image",
]

logger = logging.getLogger(__name__)

Floats = npt.NDArray[np.float32]
Infer = Callable[[Floats], Floats]
"""Takes normalised images [N, C, H, W] to logits [N, classes]."""

SUFFIXES = frozenset(
    {".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"}
)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Dataset:
    """Labelled images, each decoded when its turn comes."""

    path: Path
    """The folder or file they are from."""
    spec: ImageSpec
    """What the classifier expects; images are handed out in its normalised space."""
    labels: npt.NDArray[np.int64]
    """[N], the class index of each image."""
    read: Callable[[int], Image.Image | Pixels]
    """Returns the n-th image of the source: a picture, or pixels [H, W, C] of the right shape."""
    order: npt.NDArray[np.int64]
    """[N], the place in the source of each image."""

    def __len__(self) -> int:
        return len(self.labels)

    def limited(self, count: int | None) -> Dataset:
        """Returns at most `count` images, evenly spread over the whole: a folder is by class."""
        if count is None or count >= len(self):
            return self
        if count < 1:
            raise UsageMistake(f"the limit is {count}; it must be at least 1")
        chosen = np.arange(count) * len(self) // count
        return replace(self, labels=self.labels[chosen], order=self.order[chosen])

    def batches(self, size: int) -> Iterator[tuple[Floats, npt.NDArray[np.int64]]]:
        """Yields normalised images [N, C, H, W] and labels [N], N at most `size`, in order.

        Raises:
            DatasetError: an image cannot be read; the message names it.
        """
        if size < 1:
            raise UsageMistake(f"the batch is {size}; it must be at least 1")
        for start in range(0, len(self), size):
            places = self.order[start : start + size]
            pixels = np.stack([fitted(self.read(int(place)), self.spec) for place in places])
            if self.spec.colour == "bgr":
                pixels = pixels[..., ::-1]
            images = pixels.transpose(0, 3, 1, 2).astype(np.float32) / np.float32(255)
            yield self.spec.normalise(images), self.labels[start : start + size]


def evaluate(
    infer: Infer,
    dataset: Dataset,
    *,
    batch: int = 64,
    against: Infer | None = None,
    progress: Progress = silent,
) -> Evaluation:
    """Measures one model, and where `against` is given how often the two agree.

    Raises:
        DatasetError: an image cannot be read.
        ArtifactError: the logits have another shape than [N, classes].
        NumericsError: a logit is NaN.
    """
    infers = {"the model": infer, **({"the reference": against} if against else {})}
    reference = "the reference" if against else None
    found = evaluate_many(infers, dataset, reference=reference, batch=batch, progress=progress)
    return found["the model"]


def evaluate_many(
    infers: Mapping[str, Infer],
    dataset: Dataset,
    *,
    reference: str | None = None,
    batch: int = 64,
    progress: Progress = silent,
) -> dict[str, Evaluation]:
    """Measures several models with equal input in one pass: each image is decoded once.

    Args:
        infers: the models by name.
        dataset: opened with the spec that all of them share.
        reference: name of the model that the others' agreement is with.
        batch: images a call.
        progress: told after every batch.

    Raises:
        DatasetError: an image cannot be read.
        ArtifactError: the logits have another shape than [N, classes].
        NumericsError: a logit is NaN.
    """
    if reference is not None and reference not in infers:
        raise UsageMistake(f"no model {reference!r} to compare with among {', '.join(infers)}")
    tallies = {name: Tally() for name in infers}
    done = 0
    for images, labels in dataset.batches(batch):
        found = dict[str, Floats]()
        for name, infer in infers.items():
            started = time.perf_counter()
            found[name] = infer(images)
            tallies[name].seconds += time.perf_counter() - started
            _check(name, found[name], len(labels), dataset.spec.classes, done)
        for name, tally in tallies.items():
            tally.add(found[name], labels, found.get(reference or ""), dataset.spec.head)
        done += len(labels)
        progress("evaluate", done, len(dataset))
    return {name: tally.result(done) for name, tally in tallies.items()}


def _check(name: str, logits: Floats, count: int, classes: int, before: int) -> None:
    if logits.shape != (count, classes):
        raise ArtifactError(
            f"{name} answers {count} images with an array of shape {list(logits.shape)}, "
            f"not with logits of shape [{count}, {classes}]"
        )
    bad = np.flatnonzero(np.isnan(logits).any(axis=1))
    if bad.size:
        raise NumericsError(
            f"{name} answers image {before + int(bad[0])} with NaN; its weights, or the "
            "preprocessing it was exported with, are wrong"
        )


def open_dataset(path: Path, spec: ImageSpec) -> Dataset:
    """Opens an image folder or an npz file for a classifier.

    A folder has one folder a class, named by the class index (leading zeros allowed), or by the
    names in a `classes.txt` beside them, whose n-th line, from zero, names the folder of class n.
    An npz has `images` uint8 [N, H, W] or [N, H, W, C], and `labels` [N].

    Of a selection of classes (`spec.source_classes`) the indices and the lines are those of the
    classifier that they were selected from; images of classes that were left out are dropped, or
    are of the class that stands for them.

    Colours are red, green, blue, in an npz too. Images of another size are resized so that
    spec.crop of the shorter side is left, and cropped in the middle; those of an npz with the right
    size are used as they are.

    Raises:
        DatasetError: there is nothing to read, or it does not fit the classifier.
    """
    if not path.exists():
        raise DatasetError(f"{path} does not exist; give an image folder or an npz file")
    found = _open_folder(path, spec) if path.is_dir() else _open_npz(path, spec)
    if not len(found):
        raise DatasetError(f"{path} holds no images; give an image folder or an npz file")
    if spec.source_classes is not None:
        return _of_selection(found, spec.source_classes)
    lowest, highest = int(found.labels.min()), int(found.labels.max())
    if lowest < 0 or highest >= spec.classes:
        raise DatasetError(
            f"{path} has labels from {lowest} to {highest}, but the model tells "
            f"{spec.classes} classes apart (0 to {spec.classes - 1}); "
            "give the data it was trained for, labelled by logit index"
        )
    return found


def _of_selection(whole: Dataset, source_classes: tuple[int, ...]) -> Dataset:
    """Takes labels from the numbering of the whole to the selection's own, and drops the rest."""
    if int(whole.labels.min()) < 0:
        raise DatasetError(
            f"{whole.path} has labels from {int(whole.labels.min())}; give whole numbers from 0, "
            "the indices of the classifier that the model's classes were selected from"
        )
    labels = own_labels(whole.labels, source_classes)
    kept = labels >= 0
    if not kept.any():
        raise DatasetError(
            f"{whole.path} holds no images of the model's classes, which are "
            f"{', '.join(map(str, source_classes))} of those they were selected from; give images "
            "of these, labelled by the index there"
        )
    if not kept.all():
        logger.info(
            "%d of %d images are of classes that were left out, and are not counted",
            int((~kept).sum()),
            len(whole),
        )
    return replace(whole, labels=labels[kept], order=whole.order[kept])


def _open_folder(path: Path, spec: ImageSpec) -> Dataset:
    files: list[Path] = []
    labels: list[int] = []
    for label, folder in _class_folders(path, spec):
        inside = sorted(f for f in folder.iterdir() if f.suffix.lower() in SUFFIXES)
        files += inside
        labels += [label] * len(inside)

    def read(place: int) -> Image.Image:
        return read_image(files[place])

    if spec.channels not in MODES:
        raise DatasetError(
            f"{path}: image files have 1 or 3 channels, but the model takes {spec.channels}; "
            "give an npz with its channels"
        )
    return _dataset(path, spec, labels, read)


def _dataset(path: Path, spec: ImageSpec, labels: Any, read: Callable[[int], Any]) -> Dataset:
    indices = np.asarray(labels, dtype=np.int64)
    return Dataset(path=path, spec=spec, labels=indices, read=read, order=np.arange(len(indices)))


def _class_folders(path: Path, spec: ImageSpec) -> list[tuple[int, Path]]:
    """Returns (class index, folder), by index."""
    folders = sorted(p for p in path.iterdir() if p.is_dir() and not p.name.startswith("."))
    if not folders:
        raise DatasetError(
            f"{path} has no folders of classes; put the images of class 0 into {path / '0'}, "
            "and so on"
        )
    listed = path / "classes.txt"
    if listed.is_file():
        index = _read_classes(listed, spec)
        unknown = [folder.name for folder in folders if folder.name not in index]
        if unknown:
            raise DatasetError(f"{listed} does not name the folder {unknown[0]!r}; add its line")
        return sorted((index[folder.name], folder) for folder in folders)
    strange = [folder.name for folder in folders if not folder.name.isdecimal()]
    if strange:
        raise DatasetError(
            f"the folder {strange[0]!r} in {path} is not a class index; rename the folders to "
            f"0, 1, …, or write {listed} with one folder name a line, in logit order"
        )
    return sorted((int(folder.name), folder) for folder in folders)


def _read_classes(listed: Path, spec: ImageSpec) -> dict[str, int]:
    try:
        names = [line.strip() for line in listed.read_text(encoding="utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"{listed} is not readable as text: {error}") from error
    while names and not names[-1]:
        names.pop()
    if spec.source_classes is not None:
        if len(names) <= max(spec.source_classes):
            raise DatasetError(
                f"{listed} names {len(names)} classes, but the model's were selected from more "
                f"than {max(spec.source_classes)}; give one folder name a line, in the order of "
                "the classifier that they were selected from"
            )
    elif len(names) != spec.classes:
        raise DatasetError(
            f"{listed} names {len(names)} classes, but the model tells {spec.classes} apart; "
            "give one folder name a line, in logit order"
        )
    if len(set(names)) != len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise DatasetError(f"{listed} names {twice!r} twice; every class has one line")
    return {name: number for number, name in enumerate(names)}


def read_image(file: Path) -> Image.Image:
    """Decodes one image file, whatever its mode and size.

    Raises:
        DatasetError: it cannot be read.
    """
    try:
        with Image.open(file) as stream:
            image = in_eight_bits(stream.copy(), stream.format)
    except (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError) as error:
        raise DatasetError(
            f"{file} cannot be read as an image ({error}); replace or remove it"
        ) from error
    return image


def _open_npz(path: Path, spec: ImageSpec) -> Dataset:
    images, labels = _read_npz(path)
    if images.ndim == 3:
        images = images[..., None]
    if images.dtype != np.uint8 or images.ndim != 4:
        raise DatasetError(
            f"{path}: images are {images.dtype} of shape {list(images.shape)}; "
            "give uint8 [N, H, W] or [N, H, W, C]"
        )
    if labels.shape != (len(images),) or labels.dtype.kind not in "iu":
        raise DatasetError(
            f"{path}: labels are {labels.dtype} of shape {list(labels.shape)} for {len(images)} "
            "images; give one whole number an image"
        )
    channels = images.shape[3]
    if channels != spec.channels and not {channels, spec.channels} <= set(MODES):
        raise DatasetError(
            f"{path}: images have {channels} channels, and the model takes {spec.channels}; "
            "only 1 and 3 can be converted"
        )
    right_size = images.shape[1:3] == (spec.height, spec.width)
    if not right_size and channels not in MODES:
        raise DatasetError(
            f"{path}: images are {list(images.shape[1:3])} and the model takes "
            f"{[spec.height, spec.width]}; only those of 1 or 3 channels can be resized"
        )

    def read(place: int) -> Image.Image | Pixels:
        pixels: Pixels = images[place]
        if right_size and channels == spec.channels:
            return pixels
        image = Image.fromarray(pixels[..., 0] if channels == 1 else pixels)
        return as_pixels(image, spec) if right_size else image

    return _dataset(path, spec, labels, read)


def _read_npz(path: Path) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    if not zipfile.is_zipfile(path):  # numpy would take it for a pickle, and advise to load it
        raise DatasetError(
            f"{path} is neither an image folder nor a readable npz file: it is no zip archive, or "
            "is cut short; give images uint8 [N, H, W(, C)] and labels"
        )
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as stored:
            return stored["images"], stored["labels"]
    except KeyError as error:
        raise DatasetError(f"{path} must hold `images` and `labels`: {error.args[0]}") from error
    except Exception as error:
        raise DatasetError(
            f"{path} is neither an image folder nor a readable npz file ({error}); "
            "give images uint8 [N, H, W(, C)] and labels"
        ) from error
