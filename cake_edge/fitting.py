"""A real image made to fit a classifier: its mode, its size, its middle."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from PIL import Image

from cake_edge.spec import ImageSpec

__all__ = ["MODES", "Pixels", "as_pixels", "fitted", "in_eight_bits"]

Pixels = npt.NDArray[np.uint8]

MODES = {1: "L", 3: "RGB"}
"""Pillow's word for the images of a classifier with that many channels."""
WHITE_16 = 2**16 - 1
FILTERS = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
}


def fitted(image: Image.Image | Pixels, spec: ImageSpec) -> Pixels:
    """Returns pixels [H, W, C] of the spec's shape."""
    if not isinstance(image, Image.Image):
        return image
    if image.size != (spec.width, spec.height) or spec.crop < 1:
        image = _resized(image.convert(MODES[spec.channels]), spec)
    return as_pixels(image, spec)


def in_eight_bits(image: Image.Image, kind: str | None) -> Image.Image:
    """Scales a picture of 16 bits to 8, which Pillow's own conversion clips; others stay.

    Args:
        image: as decoded.
        kind: Pillow's name of the file's format.

    Raises:
        ValueError: it holds numbers that do not say what is white.
    """
    if image.mode not in ("I", "F") and not image.mode.startswith("I;16"):
        return image
    # Pillow hands over 16 bits of these formats in 32.
    if image.mode in ("I", "F") and kind not in ("PNG", "PPM"):
        raise ValueError("its pixels are signed or of 32 bits; save it with 8 or 16, unsigned")
    scaled = (np.asarray(image).astype(np.int64) * 255 + WHITE_16 // 2) // WHITE_16
    return Image.fromarray(scaled.astype(np.uint8))


def as_pixels(image: Image.Image, spec: ImageSpec) -> Pixels:
    """Converts between grey and colour, and gives [H, W, C]."""
    pixels = np.asarray(image.convert(MODES[spec.channels]), dtype=np.uint8)
    return pixels[..., None] if pixels.ndim == 2 else pixels


def _resized(image: Image.Image, spec: ImageSpec) -> Image.Image:
    """Resizes to the crop's size over spec.crop, the ratio kept, and takes the middle.

    The arithmetic is that of torchvision's Resize and CenterCrop, by which published accuracies
    are measured.
    """
    width, height = math.floor(spec.width / spec.crop), math.floor(spec.height / spec.crop)
    if width * image.height >= height * image.width:
        height = int(width * image.height / image.width)
    else:
        width = int(height * image.width / image.height)
    resized: Image.Image = image.resize((width, height), FILTERS[spec.interpolation])
    left = round((width - spec.width) / 2)
    top = round((height - spec.height) / 2)
    return resized.crop((left, top, left + spec.width, top + spec.height))
