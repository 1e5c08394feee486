"""What a source says of a classifier's input and output, apart from its weights."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import timm
from torch import nn

from cake_edge.errors import TeacherError, UsageMistake
from cake_edge.spec import INTERPOLATIONS

__all__ = ["Stated", "stated_by_config", "stated_by_network", "stated_by_timm"]


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
        TeacherError: the configuration is damaged.
    """
    defaults = _pretrained_cfg(architecture)
    origin = "timm's configuration of the architecture"
    return stated_by_config(defaults, origin, trusted=trusted), defaults


def stated_by_network(network: nn.Module, *, trusted: bool = True) -> Stated | None:
    """Returns what a network's attribute `pretrained_cfg` or `default_cfg` says, as timm has it.

    Args:
        network: of any origin.
        trusted: its mean and std are those of the weights.

    Raises:
        TeacherError: a value there has another form.
    """
    for name in ("pretrained_cfg", "default_cfg"):
        found = getattr(network, name, None)
        if dataclasses.is_dataclass(found) and not isinstance(found, type):
            found = dataclasses.asdict(found)
        if isinstance(found, Mapping) and found:
            return stated_by_config(found, f"the network's {name}", trusted=trusted)
    return None


def stated_by_config(values: Mapping[str, Any], origin: str, *, trusted: bool) -> Stated:
    """Reads a configuration with timm's names: input_size, mean, std, crop_pct, label_names.

    Args:
        values: the configuration; it may come from a file of others.
        origin: the source, as a person would name it.
        trusted: its mean and std are those of the weights.

    Raises:
        TeacherError: a value has another form.
    """
    mean, std = values.get("mean"), values.get("std")
    interpolation = values.get("interpolation")
    try:
        size = tuple(int(length) for length in values.get("input_size") or ())
        crop = values.get("crop_pct")
        return Stated(
            origin=origin,
            size=(size[1], size[2]) if size else None,
            mean=tuple(float(value) for value in mean) if trusted and mean else None,
            std=tuple(float(value) for value in std) if trusted and std else None,
            usual=f"timm trains this architecture with {mean}, {std}" if mean else None,
            labels=_labels(values.get("label_names") or values.get("labels")),
            crop=float(crop) if crop else None,
            interpolation=interpolation if interpolation in INTERPOLATIONS else None,
        )
    except (IndexError, TypeError, ValueError) as error:
        raise TeacherError(
            f"{origin} holds a value of another form than timm's ({error}); mend it, or give a "
            "checkpoint file with --arch and what it expects"
        ) from error


def _labels(found: Any) -> tuple[str, ...] | None:
    """Class names in logit order, from a list or from a mapping of every index to a name."""
    if isinstance(found, Mapping):
        names = {int(index): str(name) for index, name in found.items()}
        whole = sorted(names) == list(range(len(names)))
        return tuple(names[index] for index in range(len(names))) if names and whole else None
    return tuple(str(name) for name in found) if isinstance(found, (list, tuple)) else None


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
