"""What a classifier expects of its input: the one place where normalisation lives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from cake_edge.errors import UsageMistake

__all__ = ["OTHER", "ImageSpec", "decisions"]

INTERPOLATIONS = ("nearest", "bilinear", "bicubic")
COLOURS = ("rgb", "bgr")
HEADS = ("softmax", "sigmoid")
LARGEST_SIDE = 2**14
"""Channels, rows or columns of an image."""
LARGEST_INPUT = 2**26
"""Values of an image: 256 MiB in float32, before a network makes more of them."""
OTHER = -1
"""In `source_classes`: the class that stands for all that were left out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageSpec:
    """Shape, value range and classes of a classifier.

    A pixel p in [0, 1] of channel c enters the network as (p - mean[c]) / std[c].
    """

    channels: int
    """Colour channels, 1 or 3 as a rule."""
    height: int
    """Rows, in pixels."""
    width: int
    """Columns, in pixels."""
    mean: tuple[float, ...]
    """One mean a channel, in units of pixels in [0, 1]."""
    std: tuple[float, ...]
    """One standard deviation a channel, in units of pixels in [0, 1]; positive."""
    classes: int
    """Length of the logit vector."""
    labels: tuple[str, ...] | None = None
    """Class names in logit order, if they are known."""
    crop: float = 1.0
    """Share of the resized image that the central crop keeps in evaluation (timm's crop_pct)."""
    interpolation: str = "bicubic"
    """How a real image is resized in evaluation."""
    colour: str = "rgb"
    """Order of the three channels, of `mean` and of `std`: rgb, or bgr as OpenCV has it."""
    head: str = "softmax"
    """What logits mean: softmax, one class an image; sigmoid, any number of labels an image.
    `decisions` and, for losses, `cake_edge.losses.head` say what follows."""
    source_classes: tuple[int, ...] | None = None
    """For a selection of another classifier's classes: the index of each there, or `OTHER`."""

    def __post_init__(self) -> None:
        for name in ("channels", "height", "width", "classes"):
            if getattr(self, name) < 1:
                raise UsageMistake(f"{name} is {getattr(self, name)}; it must be at least 1")
        for name in ("mean", "std"):
            values = getattr(self, name)
            if len(values) != self.channels:
                raise UsageMistake(
                    f"{name} has {len(values)} values for {self.channels} channels; "
                    "give one a channel"
                )
        if max(self.input_size) > LARGEST_SIDE or prod(self.input_size) > LARGEST_INPUT:
            raise UsageMistake(
                f"input_size is {list(self.input_size)}; taken for an image are at most "
                f"{LARGEST_SIDE} channels, rows and columns, and {LARGEST_INPUT} values in all"
            )
        if not all(np.isfinite(self.mean)):
            raise UsageMistake(f"mean is {list(self.mean)}; every value must be finite")
        if not all(0 < value < np.inf for value in self.std):
            raise UsageMistake(f"std is {list(self.std)}; every value must be positive and finite")
        if self.labels is not None and len(self.labels) != self.classes:
            raise UsageMistake(
                f"{len(self.labels)} labels for {self.classes} classes; give one a class or none"
            )
        if not 0 < self.crop <= 1:
            raise UsageMistake(f"crop is {self.crop}; it must lie in (0, 1]")
        if self.interpolation not in INTERPOLATIONS:
            allowed = ", ".join(INTERPOLATIONS)
            raise UsageMistake(f"interpolation is {self.interpolation!r}; allowed: {allowed}")
        self._check_meaning()

    def _check_meaning(self) -> None:
        if self.colour not in COLOURS:
            raise UsageMistake(f"colour is {self.colour!r}; allowed: {', '.join(COLOURS)}")
        if self.colour != "rgb" and self.channels != 3:
            raise UsageMistake(f"colour is {self.colour!r}, which {self.channels} channels lack")
        if self.head not in HEADS:
            raise UsageMistake(f"head is {self.head!r}; allowed: {', '.join(HEADS)}")
        chosen = self.source_classes
        if chosen is not None and (len(chosen) != self.classes or len(set(chosen)) < len(chosen)):
            raise UsageMistake(
                f"source_classes has {len(chosen)} values, {len(set(chosen))} of them different, "
                f"for {self.classes} classes; give one a class, each once"
            )

    @property
    def input_size(self) -> tuple[int, int, int]:
        """(channels, height, width)."""
        return (self.channels, self.height, self.width)

    def normalise(self, pixels: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.float32]:
        """Takes pixels in [0, 1], shape [..., C, H, W], into the classifier's input space."""
        return ((pixels - self._column(self.mean)) / self._column(self.std)).astype(np.float32)

    def denormalise(self, images: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.float32]:
        """Takes images of the classifier's input space, [..., C, H, W], back to pixels."""
        return (images * self._column(self.std) + self._column(self.mean)).astype(np.float32)

    def _column(self, values: tuple[float, ...]) -> npt.NDArray[np.float32]:
        return np.asarray(values, dtype=np.float32).reshape(-1, 1, 1)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; `from_dict` is the inverse.

        What few classifiers have (`colour`, `head`, `source_classes`) is there where it says
        something.
        """
        values: dict[str, Any] = {
            "input_size": list(self.input_size),
            "mean": list(self.mean),
            "std": list(self.std),
            "classes": self.classes,
            "labels": list(self.labels) if self.labels is not None else None,
            "crop": self.crop,
            "interpolation": self.interpolation,
        }
        if self.colour != "rgb":
            values["colour"] = self.colour
        if self.head != "softmax":
            values["head"] = self.head
        if self.source_classes is not None:
            values["source_classes"] = list(self.source_classes)
        return values

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ImageSpec:
        """Rebuilds a spec from `to_dict`.

        Raises:
            UsageMistake: a value is missing or does not fit.
        """
        try:
            channels, height, width = (int(v) for v in values["input_size"])
            labels, chosen = values.get("labels"), values.get("source_classes")
            return cls(
                channels=channels,
                height=height,
                width=width,
                mean=tuple(float(v) for v in values["mean"]),
                std=tuple(float(v) for v in values["std"]),
                classes=int(values["classes"]),
                labels=tuple(str(v) for v in labels) if labels is not None else None,
                crop=float(values.get("crop", 1.0)),
                interpolation=str(values.get("interpolation", "bicubic")),
                colour=str(values.get("colour", "rgb")),
                head=str(values.get("head", "softmax")),
                source_classes=tuple(int(v) for v in chosen) if chosen is not None else None,
            )
        except (KeyError, OverflowError, TypeError, ValueError) as error:
            raise UsageMistake(f"not a complete image spec ({error!r}): {dict(values)}") from error


def decisions(logits: Any, head: str) -> Any:
    """Returns what logits [N, classes], an array or a tensor, decide.

    Of a softmax [N], the class with the highest logit; of a sigmoid booleans [N, classes], whether
    each label is there: where its probability is above a half.
    """
    return logits > 0 if head == "sigmoid" else logits.argmax(1)
