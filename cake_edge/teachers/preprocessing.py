"""From what is known of a teacher's input to its `ImageSpec`; nothing is guessed in silence."""

from __future__ import annotations

import logging
from typing import NamedTuple

from cake_edge.errors import TeacherError, UsageMistake
from cake_edge.spec import ImageSpec
from cake_edge.teachers.config import PRESETS, TeacherConfig
from cake_edge.teachers.stated import Stated

__all__ = ["PixelsUnknown", "Understood", "image_spec"]

logger = logging.getLogger(__name__)

ASKED = "as asked for"


class PixelsUnknown(TeacherError):
    """Nobody says which mean and std the teacher was trained with; all else may be known."""


class Understood(NamedTuple):
    """What a teacher expects, and who says so."""

    spec: ImageSpec
    origins: dict[str, str]
    """For each part of the spec, by a person's word for it, where it came from."""


class _Pixels(NamedTuple):
    """How pixels in [0, 1] become the network's input."""

    mean: tuple[float, ...]
    std: tuple[float, ...]
    colour: str
    origin: str


def image_spec(
    config: TeacherConfig, stated: Stated, *, channels: int, classes: int, head: str = "softmax"
) -> Understood:
    """Joins what a person says with what the source says; the person is believed first.

    Args:
        config: what a person said.
        stated: what the file or the architecture says.
        channels: what the weights take.
        classes: what the weights tell apart.
        head: what is seen of the logits' meaning.

    Raises:
        TeacherError: the size is not known.
        PixelsUnknown: mean and std are not known.
        UsageMistake: a value does not fit.
    """
    height, width = _size(config, stated)
    pixels = _pixels(config, stated, channels)
    native = stated.size is None or (height, width) == stated.size
    labels = config.labels or _fitting_labels(stated, classes)
    seen = stated.origin if stated.head else "seen in its answer"
    named = stated.origin if labels else "not known"
    spec = ImageSpec(
        channels=channels,
        height=height,
        width=width,
        mean=pixels.mean,
        std=pixels.std,
        classes=classes,
        labels=labels,
        # A crop share belongs to a resolution: images of another size are taken whole.
        crop=config.crop or (stated.crop if native else None) or 1.0,
        interpolation=config.interpolation or stated.interpolation or "bicubic",
        colour=pixels.colour,
        head=config.head or stated.head or head,
    )
    return Understood(
        spec,
        {
            "input size": ASKED if config.input_size else stated.origin,
            "mean and std": pixels.origin,
            "labels": ASKED if config.labels else named,
            "head": ASKED if config.head else seen,
        },
    )


def _fitting_labels(stated: Stated, classes: int) -> tuple[str, ...] | None:
    """The source's labels, if they are of this answer: names of another number are not."""
    labels = stated.labels
    if labels is not None and len(labels) != classes:
        logger.warning(
            "%s has %d names for %d classes; they are passed over",
            stated.origin, len(labels), classes,
        )  # fmt: skip
        return None
    return labels


def _size(config: TeacherConfig, stated: Stated) -> tuple[int, int]:
    if config.input_size is not None:
        return config.input_size[1:]
    if stated.size is None:
        raise TeacherError("the input size is not known; give it with --input-size C,H,W")
    logger.info("input size %dx%d comes from %s", *stated.size, stated.origin)
    return stated.size


def _pixels(config: TeacherConfig, stated: Stated, channels: int) -> _Pixels:
    found = _asked(config, channels)
    if found is None and stated.mean is not None and stated.std is not None:
        colour = config.colour or stated.colour or "rgb"
        found = _Pixels(stated.mean, stated.std, colour, stated.origin)
    if found is None:
        guess = f" ({stated.usual})" if stated.usual else ""
        raise PixelsUnknown(
            f"{stated.origin} does not say which mean and std the teacher was trained with; give "
            f"--mean and --std, or --preset with one of {', '.join(PRESETS)}{guess}"
        )
    if len(found.mean) != channels or len(found.std) != channels:
        raise UsageMistake(
            f"{found.origin}: mean and std have {len(found.mean)} and {len(found.std)} values, "
            f"but the teacher's input has {channels} channel{'s' if channels > 1 else ''}; "
            "give --mean and --std with one value a channel"
        )
    return found


def _asked(config: TeacherConfig, channels: int) -> _Pixels | None:
    """What the options say, in units of pixels in [0, 1]."""
    if config.preset is not None:
        preset = PRESETS[config.preset]
        colour = preset.colour if channels == 3 else "rgb"
        mean, std = _every(preset.mean, channels), _every(preset.std, channels)
        return _Pixels(mean, std, colour, f"the preset {config.preset}")
    if config.mean is None and config.value_range is None:
        return None
    # Pixels that lie in [low, high] before mean and std apply are low + (high - low) p.
    low, high = config.value_range or (0.0, 1.0)
    means, stds = config.mean or (0.0,) * channels, config.std or (1.0,) * channels
    return _Pixels(
        tuple((value - low) / (high - low) for value in means),
        tuple(value / (high - low) for value in stds),
        config.colour or "rgb",
        ASKED,
    )


def _every(values: tuple[float, ...], channels: int) -> tuple[float, ...]:
    return values * channels if len(values) == 1 else values
