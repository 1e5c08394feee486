"""From what is known of a teacher's input to its `ImageSpec`; nothing is guessed in silence."""

from __future__ import annotations

import dataclasses
import logging
from typing import Any

import timm

from cake_edge.errors import TeacherError, UsageMistake
from cake_edge.spec import INTERPOLATIONS, ImageSpec
from cake_edge.teachers.config import PRESETS, TeacherConfig

__all__ = ["architecture_defaults", "image_spec"]

logger = logging.getLogger(__name__)


def architecture_defaults(architecture: str) -> dict[str, Any]:
    """Returns timm's pretrained_cfg of an architecture, tag included, as a dict.

    Raises:
        UsageMistake: the tag after the dot is unknown.
    """
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


def image_spec(
    config: TeacherConfig, defaults: dict[str, Any], *, channels: int, classes: int, trusted: bool
) -> ImageSpec:
    """Joins what the config says with what timm says of the architecture.

    Args:
        config: what a person said.
        defaults: from `architecture_defaults`.
        channels: what the weights take.
        classes: what the weights tell apart.
        trusted: the weights are timm's own, so that timm's mean and std are theirs.

    Raises:
        TeacherError: mean and std are not known.
        UsageMistake: a value does not fit.
    """
    native = tuple(defaults.get("input_size") or ())
    if config.input_size is None and not native:
        raise TeacherError("the input size is not known; give it with --input-size C,H,W")
    _, height, width = config.input_size or native
    mean, std = _mean_and_std(config, defaults, channels, trusted)
    if config.input_size is None:
        logger.info("input size %dx%dx%d is the architecture's default", channels, height, width)
    # A crop share belongs to a resolution: images of another size are taken whole.
    usual = defaults.get("crop_pct") if (height, width) == native[1:] else None
    interpolation = defaults.get("interpolation")
    return ImageSpec(
        channels=channels,
        height=height,
        width=width,
        mean=mean,
        std=std,
        classes=classes,
        labels=config.labels,
        crop=config.crop or usual or 1.0,
        interpolation=config.interpolation
        or (interpolation if interpolation in INTERPOLATIONS else "bicubic"),
    )


def _mean_and_std(
    config: TeacherConfig, defaults: dict[str, Any], channels: int, trusted: bool
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    mean, std, origin = config.mean, config.std, "mean and std"
    if config.preset is not None:
        (mean, std), origin = PRESETS[config.preset], f"the preset {config.preset}"
        if len(mean) == 1:
            mean, std = mean * channels, std * channels
    elif mean is None and trusted and defaults.get("mean"):
        mean, std = tuple(defaults["mean"]), tuple(defaults["std"])
        origin = "timm's mean and std for this architecture"
    if mean is None or std is None:
        guess = ""
        if defaults.get("mean"):
            guess = f" (timm trains this architecture with {defaults['mean']}, {defaults['std']})"
        raise TeacherError(
            "the file does not say which mean and std the teacher was trained with; give "
            f"--mean and --std, or --preset with one of {', '.join(PRESETS)}{guess}"
        )
    if len(mean) != channels or len(std) != channels:
        raise UsageMistake(
            f"{origin}: {len(mean)} and {len(std)} values, but the teacher's input has "
            f"{channels} channel{'s' if channels > 1 else ''}; "
            "give --mean and --std with one value a channel"
        )
    return mean, std
