"""Images that somebody wants models to be timed on: their pixels reach the clock and nothing else.

A kernel that skips zeros, or a network that leaves early, takes another time for real images than
for random values. No label is needed, and none is read.
"""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from cake_edge.errors import DatasetError, UsageMistake
from cake_edge.evaluate import SUFFIXES, read_image
from cake_edge.fitting import MODES, Pixels, fitted
from cake_edge.spec import ImageSpec

__all__ = ["TimingImages", "open_timing_images"]

MOST = 64
"""So many are taken, evenly spread: a clock needs no data set."""
Array = npt.NDArray[Any]
Take = Callable[[int, ImageSpec | None], Array]


@dataclass(frozen=True, slots=True, kw_only=True)
class TimingImages:
    """A choice of the images in a folder or an npz file."""

    name: str
    """The file's or folder's name, and a hash of what was chosen of it: what a result says."""
    take: Take
    """Gives at most so many images, fit for a model of that spec: uint8 [N, H, W, C] pixels, or
    float32 as the file has them; raises DatasetError or UsageMistake where none can be had."""


def open_timing_images(path: Path) -> TimingImages:
    """Opens a folder of image files, at any depth, or an npz file with `images`.

    In an npz, pixels are uint8 [N, H, W] or [N, H, W, C], red, green, blue; float32 [N, C, H, W] is
    taken to be in the model's input space.

    Raises:
        DatasetError: there are no images that can be read.
    """
    if path.is_dir():
        return _of_folder(path)
    return _of_npz(path)


def _of_folder(path: Path) -> TimingImages:
    files = sorted(p for p in path.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())
    if not files:
        raise DatasetError(f"{path} holds no image files; give a folder of images or an npz file")
    chosen = [files[place] for place in _spread(len(files))]

    def take(count: int, spec: ImageSpec | None) -> Array:
        if spec is None:
            raise UsageMistake(
                f"{path} has image files, and the model does not say what size and normalisation "
                "it wants: it has no cake_edge metadata; give an npz with float32 images"
            )
        if spec.channels not in MODES:
            raise DatasetError(
                f"{path}: image files have 1 or 3 channels, but the model takes {spec.channels}; "
                "give an npz with its channels"
            )
        return np.stack([fitted(read_image(file), spec) for file in chosen[:count]])

    return TimingImages(name=_name(path, [file.read_bytes() for file in chosen]), take=take)


def _of_npz(path: Path) -> TimingImages:
    stored = _read_npz(path)
    if not stored.ndim or not len(stored):
        raise DatasetError(f"{path} holds no images; give at least one")
    images = stored[_spread(len(stored))]

    def take(count: int, spec: ImageSpec | None) -> Array:
        some = images[:count]
        fits = spec is None or some.dtype != np.uint8 or _is_of(some, spec)
        if spec is None or fits or some.ndim not in (3, 4) or spec.channels not in MODES:
            return some
        if some.ndim == 4 and some.shape[3] not in MODES:
            return some
        return np.stack([fitted(_image(pixels), spec) for pixels in some])

    return TimingImages(name=_name(path, [images.tobytes()]), take=take)


def _is_of(images: Array, spec: ImageSpec) -> bool:
    channels = images.shape[3] if images.ndim == 4 else 1
    return (channels, *images.shape[1:3]) == spec.input_size


def _image(pixels: Pixels) -> Image.Image:
    return Image.fromarray(pixels[..., 0] if pixels.shape[2:] == (1,) else pixels)


def _spread(count: int) -> npt.NDArray[np.int64]:
    """Places of at most `MOST` among `count`, over the whole: a folder is in order of classes."""
    most = min(count, MOST)
    return np.arange(most) * count // most


def _name(path: Path, contents: Sequence[bytes]) -> str:
    digest = hashlib.sha256()
    for content in contents:
        digest.update(content)
    return f"{path.resolve().name} (sha256 {digest.hexdigest()[:12]})"


def _read_npz(path: Path) -> Array:
    if not zipfile.is_zipfile(path):  # numpy would take it for a pickle, and advise to load it
        raise DatasetError(
            f"{path} is neither a folder of images nor a readable npz file; give images uint8 "
            "[N, H, W(, C)], or float32 [N, C, H, W] in the model's input space"
        )
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as stored:
            images: Array = stored["images"]
    except KeyError as error:
        raise DatasetError(f"{path} must hold `images`: {error.args[0]}") from error
    except Exception as error:
        raise DatasetError(f"{path} cannot be read as an npz file: {error}") from error
    return images
