"""What quantization is asked for, and what it answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from cake_edge.errors import UsageMistake
from exporters.parity import ParityReport

__all__ = ["FEWEST_IMAGES", "QuantizeConfig", "QuantizeReport"]

FEWEST_IMAGES = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class QuantizeConfig:
    """Settings of `quantize`."""

    images: int = 512
    """Most images taken, from the front; every fourth is kept apart for the final check."""
    max_agreement_drop: float | None = None
    """Largest share of the images kept apart, in [0, 1], on which INT8 may name another class
    than the float model; None only reports."""

    def __post_init__(self) -> None:
        if self.images < FEWEST_IMAGES:
            raise UsageMistake(f"images is {self.images}; it must be at least {FEWEST_IMAGES}")
        if self.max_agreement_drop is not None and not 0 <= self.max_agreement_drop <= 1:
            raise UsageMistake(
                f"max_agreement_drop is {self.max_agreement_drop}; it is a share in [0, 1]"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class QuantizeReport:
    """What was written, and how it compares with the float model."""

    path: Path
    """The INT8 file."""
    target: str
    """The dialect it is written in."""
    calibration_images: int
    """Images behind the ranges."""
    checked_images: int
    """Images kept apart, on which `parity` was measured."""
    parity: ParityReport
    """INT8 as it runs, against float, on the images kept apart."""
    coverage: Mapping[str, Any]
    """What really runs in INT8; see `exporters.runtimes.coverage`."""
    ranges: str
    """How ranges were chosen: "minmax", or "least-error" (tensor by tensor)."""
    methods: Mapping[str, int]
    """Number of tensors by the rule that gave their range."""
    bias_correction: bool
    """Whether biases were corrected for the rounding of the weights."""
    divergence: Mapping[str, float]
    """Every variant tried, with its mean KL divergence from float on the calibration images."""
    bytes: int
    """Size of the INT8 file."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {**asdict(self), "path": str(self.path)}
