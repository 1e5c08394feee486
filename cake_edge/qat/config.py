"""How a network is fine-tuned for few bits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from cake_edge.errors import UsageMistake

__all__ = ["SOURCES", "QatConfig"]

SOURCES = ("pool", "generator", "both")


@dataclass(frozen=True, slots=True, kw_only=True)
class QatConfig:
    """Bits, images, and how the training runs; defaults were chosen on synthetic images alone."""

    weight_bits: int = 4
    """Of every weighted layer but the first and the last; 2 to 8."""
    activation_bits: int = 4
    """Of the inputs of those layers; 2 to 8."""
    edge_bits: int = 8
    """Of weights and input of the first and the last layer; 2 to 8."""
    source: Literal["pool", "generator", "both"] = "pool"
    """Where images come from; both takes half of every batch from each."""
    steps: int = 1000
    """Optimiser steps of the quantized network."""
    batch: int = 64
    """Images a step."""
    start: Literal["least-error", "min-max"] = "least-error"
    """How ranges are chosen before training."""
    calibration_batches: int = 8
    """Batches that ranges are found on."""
    ranges: Literal["frozen", "learned"] = "frozen"
    """Whether the steps of the grids stay as they are, or are trained with the weights."""
    range_rate: float = 0.1
    """Rate of those steps, as a share of learning_rate."""
    temperature: float = 4.0
    """Of the KL to the float network's answers."""
    label_weight: float = 0.0
    """Of a cross-entropy to the label: the intended one of a generated image, otherwise the float
    network's; 1 in GDFQ."""
    learning_rate: float = 2e-3
    """Highest rate, of SGD with Nesterov's momentum 0.9; a half cosine to zero."""
    weight_decay: float = 1e-4
    """Of weights; not of biases, norms and steps."""
    clip: float = 5.0
    """Largest norm of the whole gradient; 0 for none."""
    augment: bool = True
    """Move and blend pooled images anew at every step."""
    warmup: int = 200
    """Steps of the generator alone, before those of the quantized network."""
    generator_rate: float = 1e-3
    """Rate of the generator's Adam."""
    latent: int = 100
    """Length of its noise."""
    width: int = 128
    """Channels of its maps."""
    statistics_weight: float = 0.1
    """Of the match of batch statistics in the generator's loss."""

    def __post_init__(self) -> None:
        for field in ("weight_bits", "activation_bits", "edge_bits"):
            if not 2 <= getattr(self, field) <= 8:
                raise UsageMistake(f"{field} is {getattr(self, field)}; it must be 2 to 8")
        positive = ("steps", "calibration_batches", "temperature", "learning_rate",
                    "generator_rate", "latent", "range_rate")  # fmt: skip
        for field in positive:
            if not getattr(self, field) > 0:
                raise UsageMistake(f"{field} is {getattr(self, field)}; it must be positive")
        for field in ("label_weight", "weight_decay", "clip", "warmup", "statistics_weight"):
            if getattr(self, field) < 0:
                raise UsageMistake(f"{field} is {getattr(self, field)}; it must be 0 or more")
        if self.batch < 2 or self.width < 2:
            raise UsageMistake(f"batch is {self.batch}, width {self.width}; each must be 2 or more")
        if self.source not in SOURCES:
            raise UsageMistake(f"source is {self.source!r}; allowed: {', '.join(SOURCES)}")
        if self.source != "pool" and not self.warmup:
            raise UsageMistake(
                "warmup is 0: ranges would be found on the images of a generator that has learned "
                "nothing; give it some steps, or take source=pool"
            )
