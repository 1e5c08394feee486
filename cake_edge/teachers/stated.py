"""What a source says of a classifier's input and output, apart from its weights."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import timm

from cake_edge.errors import UsageMistake
from cake_edge.spec import INTERPOLATIONS

__all__ = ["Stated", "stated_by_timm"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stated:
    """What is said beside the weights; None wherever the source is silent."""

    origin: str
    """The source, as a person would name it: "the file's metadata"."""
    size: tuple[int, int] | None = None
    """(height, width) of the images."""
    mean: tuple[float, ...] | None = None
    """One a channel, of pixels in [0, 1], in the order of `colour`."""
    std: tuple[float, ...] | None = None
    """Likewise."""
    usual: str | None = None
    """Mean and std that are likely, but not said of these weights; for an error message."""
    colour: str | None = None
    """rgb or bgr."""
    labels: tuple[str, ...] | None = None
    """Class names in logit order."""
    crop: float | None = None
    """Share of the resized image that is kept in evaluation."""
    interpolation: str | None = None
    """How images are resized in evaluation."""
    head: str | None = None
    """softmax or sigmoid: what the logits mean."""
    logits: bool = False
    """Whether its answer is known to be logits, so that none is taken for a probability."""


def stated_by_timm(architecture: str, *, trusted: bool) -> tuple[Stated, dict[str, Any]]:
    """Returns what timm says of an architecture, and its pretrained_cfg as a dict.

    Args:
        architecture: timm's name, with or without a tag.
        trusted: the weights are timm's own, so that timm's mean and std are theirs.

    Raises:
        UsageMistake: the tag after the dot is unknown.
    """
    defaults = _pretrained_cfg(architecture)
    size = tuple(defaults.get("input_size") or ())
    mean, std = defaults.get("mean"), defaults.get("std")
    interpolation = defaults.get("interpolation")
    stated = Stated(
        origin="timm's configuration of the architecture",
        size=(size[1], size[2]) if size else None,
        mean=tuple(mean) if trusted and mean else None,
        std=tuple(std) if trusted and std else None,
        usual=f"timm trains this architecture with {mean}, {std}" if mean else None,
        crop=defaults.get("crop_pct"),
        interpolation=interpolation if interpolation in INTERPOLATIONS else None,
    )
    return stated, defaults


def _pretrained_cfg(architecture: str) -> dict[str, Any]:
    try:
        found = timm.get_pretrained_cfg(architecture)
    except RuntimeError as error:
        name = architecture.partition(".")[0]
        tags = ", ".join(timm.list_pretrained(f"{name}.*")) or "none"
        raise UsageMistake(
            f"timm has no weights {architecture!r}; of {name} it has: {tags}"
        ) from error
    # A model that its author registered without a configuration has none.
    return dataclasses.asdict(found) if found is not None else {}
