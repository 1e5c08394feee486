"""What reconstruction is asked for, and what it answers layer by layer."""

from __future__ import annotations

from dataclasses import dataclass

from cake_edge.errors import UsageMistake

__all__ = ["BITS", "ReconstructConfig", "RoundingRecord"]

BITS = (3, 4, 5, 6, 7, 8)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReconstructConfig:
    """Settings of `reconstruct`."""

    positions: int = 256
    """Most places of an image (or tokens) whose inputs are looked at, a layer."""
    memory: int = 512 << 20
    """Most bytes of Gram matrices held at once; the images are run again for the next ones. A layer
    whose matrix alone is larger is rounded to nearest."""
    damping: float = 0.1
    """What is added to the diagonal of a Gram matrix, as a share of its mean: it keeps the rounding
    from leaning on correlations that few images happen to show."""

    def __post_init__(self) -> None:
        if self.positions < 1:
            raise UsageMistake(f"positions is {self.positions}; it must be at least 1")
        if self.memory < 1:
            raise UsageMistake(f"memory is {self.memory} bytes; it must be at least 1")
        if not 0 < self.damping <= 1:
            raise UsageMistake(f"damping is {self.damping}; it is a share in (0, 1]")


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundingRecord:
    """How one layer's weights were rounded."""

    name: str
    """Of the node."""
    op: str
    """"Conv", "Gemm" or "MatMul"."""
    weights: int
    """How many there are."""
    bits: int
    """Of each."""
    nearest: float | None
    """Power of the output error of rounding to nearest, as a share of the output's power; where the
    layer has a bias, both are variances, as the bias takes up the mean. None where not measured."""
    found: float | None
    """The same, of the rounding that was found."""
    reconstructed: bool
    """Whether the weights are those found; otherwise `reason` says what they are."""
    reason: str | None
    """Why not."""
