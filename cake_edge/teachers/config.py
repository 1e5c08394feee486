"""What a person says of a teacher: where it is, and what its file does not tell."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from cake_edge.errors import UsageMistake, near_names
from cake_edge.spec import INTERPOLATIONS

__all__ = ["PRESETS", "TeacherConfig"]

PRESETS: dict[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "inception": ((0.5,), (0.5,)),
    "zero-one": ((0.0,), (1.0,)),
}
"""Mean and deviation that networks are commonly trained with; one value stands for all channels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TeacherConfig:
    """A teacher by reference; `cake_edge.teachers.load_teacher` loads it."""

    reference: str
    """timm:NAME, a checkpoint file, package:MODULE/FILE, or embedded."""
    arch: str | None = None
    """timm's name of the architecture, for a checkpoint that does not carry it."""
    arguments: Mapping[str, Any] = field(default_factory=dict)
    """Further keyword arguments of `timm.create_model`."""
    match: Literal["name", "order"] = "name"
    """How a checkpoint's tensors find their place: by name, or by order and shape."""
    random_weights: bool = False
    """With timm:NAME, leave seeded random weights instead of timm's trained ones."""
    input_size: tuple[int, int, int] | None = None
    """(channels, height, width); None takes what the file or the architecture says."""
    mean: tuple[float, ...] | None = None
    """One mean a channel, of pixels in [0, 1]."""
    std: tuple[float, ...] | None = None
    """One standard deviation a channel, of pixels in [0, 1]."""
    preset: str | None = None
    """A name in `PRESETS`, instead of mean and std."""
    classes: int | None = None
    """Number of classes; None reads it from the weights."""
    labels: tuple[str, ...] | None = None
    """Class names in logit order."""
    crop: float | None = None
    """Share of the resized image that the central crop keeps in evaluation, in (0, 1]."""
    interpolation: str | None = None
    """How a real image is resized in evaluation: nearest, bilinear or bicubic."""

    def __post_init__(self) -> None:
        if not self.reference.strip():
            raise UsageMistake(
                "the teacher's reference is empty; give timm:NAME, a checkpoint file, "
                "package:MODULE/FILE, or embedded"
            )
        if self.match not in ("name", "order"):
            raise UsageMistake(f"match is {self.match!r}; allowed: name, order")
        self._check_pixels()
        self._check_shape()

    def _check_pixels(self) -> None:
        if (self.mean is None) != (self.std is None):
            raise UsageMistake("mean and std belong together; give both (--mean and --std)")
        if self.preset is not None and self.mean is not None:
            raise UsageMistake("preset and mean/std say the same thing; give one of them")
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
        if self.classes is not None and self.classes < 1:
            raise UsageMistake(f"classes is {self.classes}; it must be at least 1")
        for name in ("in_chans", "num_classes", "pretrained"):
            if name in self.arguments:
                raise UsageMistake(
                    f"arguments has {name!r}, which has a field of its own; "
                    "use input_size, classes or random_weights"
                )
