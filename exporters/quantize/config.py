"""What quantization is asked for, and what it answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from cake_edge.errors import UsageMistake
from exporters.parity import ParityReport

__all__ = ["FEWEST_IMAGES", "QuantizeConfig", "QuantizeReport", "Speed"]

FEWEST_IMAGES = 8
EFFORTS = ("fast", "full")
WEIGHT_BITS = (4, 8)


@dataclass(frozen=True, slots=True, kw_only=True)
class QuantizeConfig:
    """Settings of `quantize`."""

    images: int = 512
    """Most images taken, from the front; every fourth is kept apart for the final check."""
    effort: Literal["fast", "full"] = "fast"
    """"fast" chooses ranges and corrects biases; "full" also tries every rewrite of the float
    model and better rounding of weights, and keeps what lowers the error: minutes instead of
    seconds. What `max_agreement_drop` cannot be met without is tried in either case."""
    max_agreement_drop: float | None = None
    """Largest share of images, in [0, 1], on which INT8 may name another class than the float
    model. The layers that hurt most are left in float until it holds on the images that ranges
    are chosen on; None only reports."""
    weight_bits: int = 8
    """Bits of every weight: 8, or 4 to halve the file again. No runtime computes convolutions with
    4-bit weights, so they are widened as the file is loaded: smaller, not faster."""
    target_bytes: int | None = None
    """Largest size of the file; weights are narrowed to 4 bits, those that hurt least first,
    until it is met. None sets no bound."""
    allow_noise: bool = False
    """Whether images that are pure noise may set the ranges; they cost accuracy."""
    latency_seconds: float = 1.0
    """Seconds spent on timing the float and the quantized model against one another, where the
    target runs on this machine; 0 skips it."""
    when_slower: Literal["keep", "refuse"] = "keep"
    """What becomes of a file that is slower than the float model: written, with the verdict said
    and recorded, or refused."""

    def __post_init__(self) -> None:
        if self.images < FEWEST_IMAGES:
            raise UsageMistake(f"images is {self.images}; it must be at least {FEWEST_IMAGES}")
        if self.max_agreement_drop is not None and not 0 <= self.max_agreement_drop <= 1:
            raise UsageMistake(
                f"max_agreement_drop is {self.max_agreement_drop}; it is a share in [0, 1]"
            )
        if self.effort not in EFFORTS:
            raise UsageMistake(f"effort is {self.effort!r}; allowed: {', '.join(EFFORTS)}")
        if self.weight_bits not in WEIGHT_BITS:
            raise UsageMistake(f"weight_bits is {self.weight_bits}; allowed: 4, 8")
        if self.target_bytes is not None and self.target_bytes < 1:
            raise UsageMistake(f"target_bytes is {self.target_bytes}; it must be at least 1")
        if not 0 <= self.latency_seconds <= 3600:
            raise UsageMistake(f"latency_seconds is {self.latency_seconds}; it must be 0 to 3600")
        if self.when_slower not in ("keep", "refuse"):
            raise UsageMistake(f"when_slower is {self.when_slower!r}; allowed: keep, refuse")

    def allows(self, agreement: float) -> bool:
        """Whether `max_agreement_drop` bears a share of images on which both name one class."""
        # 1 - 0.98 is more than 0.02 by a rounding of float64; one image of n is far more.
        return self.max_agreement_drop is None or 1 - agreement <= self.max_agreement_drop + 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class Speed:
    """The quantized model's speed over the float model's: both in turns, on this machine."""

    estimate: float
    """Above 1 where the quantized model is faster."""
    low: float
    """Lower end of its 95 % interval."""
    high: float
    """Upper end."""

    @property
    def slower(self) -> bool:
        """Whether it is slower beyond doubt."""
        return self.high < 1


@dataclass(frozen=True, slots=True, kw_only=True)
class QuantizeReport:
    """What was written, and how it compares with the float model."""

    path: Path
    """The quantized file."""
    target: str
    """The dialect it is written in."""
    calibration_images: int
    """Images behind the ranges."""
    checked_images: int
    """Images kept apart, on which `parity` was measured."""
    parity: ParityReport
    """The file as it runs, against float, on the images kept apart. Where the target does not
    run here, the file is computed in float with its values rounded."""
    coverage: Mapping[str, Any]
    """What really runs in INT8; see `exporters.runtimes.coverage`."""
    ranges: str
    """How ranges were chosen: "minmax", or "least-error" (tensor by tensor); "none" where only
    weights are quantized."""
    methods: Mapping[str, int]
    """Number of tensors by the rule that gave their range."""
    bias_correction: bool
    """Whether biases were corrected for the rounding of the weights."""
    steps: tuple[str, ...]
    """What was done to the float model before, in order: names of rewrites, "rounding", "bias"."""
    left_float: tuple[str, ...]
    """Nodes kept in float to hold `max_agreement_drop`, the most harmful first."""
    four_bit: tuple[str, ...]
    """Nodes whose weights have 4 bits."""
    divergence: Mapping[str, float]
    """Every variant tried, with its mean KL divergence from float on calibration images."""
    sensitivity: Mapping[str, float]
    """By node, the divergence that leaving it in float would save; empty where nobody asked."""
    speed: Speed | None
    """Against the float model on this machine, one image, one thread; None where not measured."""
    verdict: Literal["quantized", "float"]
    """Which of the two files to ship."""
    advice: tuple[str, ...]
    """What speaks against the quantized file or bounds what was measured, and what to do."""
    bytes: int
    """Size of the quantized file."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {**asdict(self), "path": str(self.path)}
