"""A user's own images as a prior: `folder:PATH`, unlabeled and of any size, or one `photo:PATH`.

The one place outside evaluation that reads real images, and it does so where a recipe or a command
names them. What a single photograph can teach: Asano and Saeed, "Extrapolating from a single image
to a thousand classes using distillation" (ICLR 2023, arXiv 2112.00725).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps

from cake_edge.errors import DatasetError, UsageMistake
from cake_edge.fitting import MODES, Pixels, as_pixels, in_eight_bits
from cake_edge.priors.base import to_normalised
from cake_edge.provenance import sha256_file, sha256_json
from cake_edge.spec import ImageSpec

__all__ = ["OWN", "OwnImages", "open_own"]

SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"})
OWN: Mapping[str, float] = {"folder": 0.25, "photo": 0.02}
"""By the word before the colon, the smallest share of a picture's area that a crop takes."""
SHAPE = 4 / 3
"""How far the sides of a crop may leave the ratio that the classifier's have."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnImages:
    """A prior that draws crops, flips and scales of files, each decoded when it is drawn."""

    path: Path
    """The folder or the photo that was named."""
    files: tuple[Path, ...]
    """The pictures, sorted by their names below the folder."""
    smallest: float
    """Smallest share of a picture's area that a crop takes."""

    def __call__(self, count: int, spec: ImageSpec, random: torch.Generator) -> torch.Tensor:
        """Returns `count` views, [count, C, H, W]: every picture once before any again.

        Raises:
            UsageMistake: the classifier takes neither 1 nor 3 channels.
            DatasetError: a file cannot be read as an image; the message names it.
        """
        if spec.channels not in MODES:
            raise UsageMistake(
                f"image files have 1 or 3 channels, but the model takes {spec.channels}; "
                "choose another prior"
            )
        rounds = -(-count // len(self.files))
        drawn = torch.rand((rounds, len(self.files)), generator=random, device=random.device)
        picks = drawn.argsort(1).flatten()[:count].cpu().numpy()
        views = torch.rand((count, 5), generator=random, device=random.device).cpu().numpy()
        pixels = np.empty((count, spec.height, spec.width, spec.channels), np.uint8)
        for number in np.unique(picks):
            picture = _decoded(self.files[number], self._needed(spec), spec.channels)
            for place in np.flatnonzero(picks == number):
                pixels[place] = self._view(picture, spec, *views[place].tolist())
        if spec.colour == "bgr":
            pixels = pixels[..., ::-1].copy()
        images = torch.from_numpy(pixels).to(random.device).permute(0, 3, 1, 2)
        return to_normalised(images.float() / 255, spec).contiguous()

    def declaration(self) -> dict[str, Any]:
        """Returns what a manifest says of the files: no place on this machine, but every byte."""
        base = self.path if self.path.is_dir() else self.path.parent
        listed = [[file.relative_to(base).as_posix(), sha256_file(file)] for file in self.files]
        return {
            "path": self.path.resolve().name,
            "count": len(self.files),
            "sha256": sha256_json(listed),
        }

    def _needed(self, spec: ImageSpec) -> int:
        """The size of a picture, in pixels, whose smallest crop need not be enlarged."""
        return math.ceil(max(spec.height, spec.width) * math.sqrt(SHAPE / self.smallest))

    def _view(
        self, picture: Image.Image, spec: ImageSpec, area: float, shape: float,
        left: float, top: float, flip: float,
    ) -> Pixels:  # fmt: skip
        """One view of a picture, [H, W, C]; the draws are uniform in [0, 1)."""
        fit = min(picture.width / spec.width, picture.height / spec.height)
        side = fit * math.sqrt(self.smallest ** (1 - area))  # even over the logarithm of the area
        ratio = SHAPE ** (shape - 0.5)
        width = min(picture.width, spec.width * side * ratio)
        height = min(picture.height, spec.height * side / ratio)
        x, y = left * (picture.width - width), top * (picture.height - height)
        view = picture.resize(
            (spec.width, spec.height),
            Image.Resampling.BILINEAR,
            box=(x, y, min(x + width, picture.width), min(y + height, picture.height)),
            reducing_gap=2.0,
        )
        pixels = as_pixels(view, spec)
        return pixels[:, ::-1] if flip < 0.5 else pixels


def open_own(name: str) -> OwnImages | None:
    """Returns the prior that `folder:PATH` or `photo:PATH` names, or None for another name.

    Raises:
        DatasetError: there is no such folder or file, or no image in it.
    """
    word, colon, place = name.partition(":")
    if word not in OWN or not colon:
        return None
    path = Path(place).expanduser()
    if word == "photo":
        if not place or not path.is_file():
            raise DatasetError(f"prior {name!r}: there is no file {place!r}; give photo:FILE")
        return OwnImages(path=path, files=(path,), smallest=OWN[word])
    if not place or not path.is_dir():
        raise DatasetError(f"prior {name!r}: there is no folder {place!r}; give folder:FOLDER")
    files = sorted(f for f in path.rglob("*") if f.suffix.lower() in SUFFIXES and f.is_file())
    shown = tuple(f for f in files if not f.name.startswith("."))
    if not shown:
        raise DatasetError(
            f"prior {name!r}: the folder holds no images; put some into it, of the kinds "
            f"{', '.join(sorted(SUFFIXES))}"
        )
    return OwnImages(path=path, files=shown, smallest=OWN[word])


def _decoded(file: Path, needed: int, channels: int) -> Image.Image:
    """A picture as its camera held it, in the mode that the classifier takes."""
    mode = MODES[channels]
    try:
        with Image.open(file) as stream:
            # A JPEG is decoded at the smallest scale that still suffices: many times faster.
            stream.draft(mode, (needed, needed))
            return in_eight_bits(ImageOps.exif_transpose(stream), stream.format).convert(mode)
    except (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError) as error:
        raise DatasetError(
            f"{file} cannot be read as an image ({error}); replace or remove it"
        ) from error
