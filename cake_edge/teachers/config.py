"""What a person says of a teacher: where it is, and what its file does not tell."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from cake_edge.errors import UsageMistake, near_names
from cake_edge.spec import COLOURS, HEADS, INTERPOLATIONS

__all__ = ["PRESETS", "Preset", "TeacherConfig"]


@dataclass(frozen=True, slots=True)
class Preset:
    """A preprocessing that networks are commonly trained with."""

    mean: tuple[float, ...]
    """Of pixels in [0, 1], in the order of `colour`; one value stands for all channels."""
    std: tuple[float, ...]
    """Likewise."""
    colour: str = "rgb"
    """Order of the channels."""


PRESETS: dict[str, Preset] = {
    "imagenet": Preset((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "inception": Preset((0.5,), (0.5,)),
    "zero-one": Preset((0.0,), (1.0,)),
    "zero-255": Preset((0.0,), (1 / 255,)),
    "clip": Preset((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)),
    # Mean of 8-bit pixels, not divided by anything, in OpenCV's order.
    "caffe": Preset((103.939 / 255, 116.779 / 255, 123.68 / 255), (1 / 255,), "bgr"),
}
"""Preprocessing by name, for `--preset`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TeacherConfig:
    """A teacher by reference; `cake_edge.teachers.load_teacher` loads it."""

    reference: str
    """timm:NAME, hf-hub:NAME, a file, package:MODULE/FILE, MODULE:FACTORY, or embedded."""
    arch: str | None = None
    """timm's name of the architecture, or MODULE:FACTORY, for a checkpoint without one."""
    arguments: Mapping[str, Any] = field(default_factory=dict)
    """Further keyword arguments of `timm.create_model`, or of the factory."""
    match: Literal["name", "order"] = "name"
    """How a checkpoint's tensors find their place: by name, or by order and shape."""
    random_weights: bool = False
    """With timm:NAME, leave seeded random weights instead of timm's trained ones."""
    input_size: tuple[int, int, int] | None = None
    """(channels, height, width); None takes what the file or the architecture says."""
    mean: tuple[float, ...] | None = None
    """One mean a channel, of pixels in `value_range`, in the order of `colour`."""
    std: tuple[float, ...] | None = None
    """One standard deviation a channel, likewise."""
    value_range: tuple[float, float] | None = None
    """What black and white become before mean and std apply; None stands for (0, 1)."""
    colour: str | None = None
    """Order of three channels: rgb or bgr; None takes what the file says, or rgb."""
    preset: str | None = None
    """A name in `PRESETS`, instead of mean, std, value range and colour."""
    num_classes: int | None = None
    """Number of classes of the file; None reads it from the weights."""
    classes: tuple[str, ...] | None = None
    """The classes to keep, by name or index, in the order of the new logits; None keeps all."""
    other: bool = False
    """With `classes`, one more class that stands for all that were left out."""
    head: str | None = None
    """What its logits mean: softmax or sigmoid; None takes what is seen of the network."""
    labels: tuple[str, ...] | None = None
    """Class names in logit order."""
    crop: float | None = None
    """Share of the resized image that the central crop keeps in evaluation, in (0, 1]."""
    interpolation: str | None = None
    """How a real image is resized in evaluation: nearest, bilinear or bicubic."""
    also: tuple[TeacherConfig, ...] = ()
    """Teachers of the same classes whose answers are averaged with this one's."""

    def __post_init__(self) -> None:
        if not self.reference.strip():
            raise UsageMistake(
                "the teacher's reference is empty; give timm:NAME, a file, package:MODULE/FILE, "
                "MODULE:FACTORY, or embedded"
            )
        if self.match not in ("name", "order"):
            raise UsageMistake(f"match is {self.match!r}; allowed: name, order")
        nested = next((member for member in self.also if member.also), None)
        if nested is not None:
            raise UsageMistake(
                f"also names {nested.reference}, which has an also of its own; name all teachers "
                "in the one of the first"
            )
        self._check_pixels()
        self._check_shape()

    def _check_pixels(self) -> None:
        if (self.mean is None) != (self.std is None):
            raise UsageMistake("mean and std belong together; give both (--mean and --std)")
        own = (self.mean, self.value_range, self.colour)
        if self.preset is not None and any(value is not None for value in own):
            raise UsageMistake(
                "a preset says mean, std, value range and colour order; leave those out, or it"
            )
        if self.value_range is not None and not self.value_range[0] < self.value_range[1]:
            raise UsageMistake(
                f"value_range is {list(self.value_range)}; give what black becomes and, larger, "
                "what white becomes, such as 0,255"
            )
        if self.colour is not None and self.colour not in COLOURS:
            raise UsageMistake(f"colour is {self.colour!r}; allowed: {', '.join(COLOURS)}")
        if self.preset is not None and self.preset not in PRESETS:
            raise UsageMistake(
                f"preset {self.preset!r} is unknown{near_names(self.preset, PRESETS)}; "
                f"allowed: {', '.join(PRESETS)}"
            )
        if self.crop is not None and not 0 < self.crop <= 1:
            raise UsageMistake(f"crop is {self.crop}; it must lie in (0, 1]")
        if self.interpolation is not None and self.interpolation not in INTERPOLATIONS:
            raise UsageMistake(
                f"interpolation is {self.interpolation!r}; allowed: {', '.join(INTERPOLATIONS)}"
            )

    def _check_shape(self) -> None:
        size: tuple[int, ...] = self.input_size or (1, 1, 1)
        if len(size) != 3 or min(size) < 1:
            raise UsageMistake(
                f"input_size is {list(size)}; give channels, height and width, each at least 1"
            )
        if self.num_classes is not None and self.num_classes < 1:
            raise UsageMistake(f"num_classes is {self.num_classes}; it must be at least 1")
        self._check_classes()
        for name in ("in_chans", "num_classes", "pretrained"):
            if name in self.arguments:
                raise UsageMistake(
                    f"arguments has {name!r}, which has a field of its own; "
                    "use input_size, num_classes or random_weights"
                )

    def _check_classes(self) -> None:
        if self.head is not None and self.head not in HEADS:
            raise UsageMistake(f"head is {self.head!r}; allowed: {', '.join(HEADS)}")
        if self.other and self.classes is None:
            raise UsageMistake("other goes with classes: it stands for those that are left out")
        if self.classes is None:
            return
        named = [name.strip() for name in self.classes]
        twice = next((name for name in named if named.count(name) > 1), None)
        if not all(named) or twice is not None:
            raise UsageMistake(
                f"classes is {', '.join(named)}; name each class once, by its name or index"
            )
        if len(named) + self.other < 2:
            raise UsageMistake(
                f"classes names {named[0]} alone; name two at least, or add other (--other)"
            )
