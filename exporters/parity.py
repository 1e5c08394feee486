"""How far the outputs of one model are from those of another."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from cake_edge.errors import ArtifactError, GateFailed, NumericsError
from cake_edge.spec import decisions

__all__ = ["ParityReport", "compare", "require"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ParityReport:
    """Differences between two sets of logits on the same images."""

    n: int
    """Images compared."""
    max_abs: float
    """Largest absolute difference of a logit."""
    mean_abs: float
    """Mean absolute difference."""
    cosine: float
    """Mean over images of the cosine between the two logit vectors; two zero vectors give 1."""
    sqnr_db: float | None
    """10 log10(signal power / error power) over all logits; None where nothing differs."""
    top1_agreement: float
    """Share of images, in [0, 1], for which both name the same class; of a sigmoid, share of the
    labels of all images that both find or neither does."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def compare(
    reference: npt.NDArray[np.floating[Any]],
    candidate: npt.NDArray[np.floating[Any]],
    *,
    head: str = "softmax",
) -> ParityReport:
    """Compares logits [N, classes] of a candidate with those of its reference.

    Args:
        reference: of the model that is compared with.
        candidate: of the other, on the same images.
        head: what they mean, as in `ImageSpec.head`.

    Raises:
        ArtifactError: the shapes differ, or there is nothing to compare.
        NumericsError: one of the two holds a NaN or an infinity.
    """
    if reference.shape != candidate.shape or reference.ndim != 2 or reference.size == 0:
        raise ArtifactError(
            f"logits of shape {list(reference.shape)} and {list(candidate.shape)} cannot be "
            "compared; both must be [images, classes], and equal"
        )
    for name, values in (("reference", reference), ("candidate", candidate)):
        if not np.isfinite(values).all():
            raise NumericsError(f"the {name}'s logits hold a NaN or an infinity")
    wanted, given = reference.astype(np.float64), candidate.astype(np.float64)
    difference = given - wanted
    signal, noise = float((wanted**2).sum()), float((difference**2).sum())
    return ParityReport(
        n=len(wanted),
        max_abs=float(np.abs(difference).max()),
        mean_abs=float(np.abs(difference).mean()),
        cosine=_cosine(wanted, given),
        sqnr_db=_decibels(signal, noise),
        top1_agreement=float((decisions(wanted, head) == decisions(given, head)).mean()),
    )


def _cosine(wanted: npt.NDArray[np.float64], given: npt.NDArray[np.float64]) -> float:
    lengths = np.linalg.norm(wanted, axis=1) * np.linalg.norm(given, axis=1)
    both_zero = ~wanted.any(axis=1) & ~given.any(axis=1)
    products = (wanted * given).sum(axis=1)
    cosines = np.divide(products, lengths, out=np.zeros_like(products), where=lengths > 0)
    return float(np.where(both_zero, 1.0, cosines).mean())


def _decibels(signal: float, noise: float) -> float | None:
    if noise == 0:
        return None
    # An error on a signal of zero has no ratio; the smallest float keeps the report plain JSON.
    return float(10 * np.log10(max(signal, np.finfo(np.float64).tiny) / noise))


def require(
    report: ParityReport,
    *,
    what: str,
    max_abs: float | None = None,
    min_cosine: float | None = None,
    min_sqnr_db: float | None = None,
    min_top1_agreement: float | None = None,
) -> None:
    """Holds a report against bounds; None sets no bound.

    Args:
        what: names the two sides in the message, such as "ONNX Runtime against torch".

    Raises:
        GateFailed: with every bound that is broken, not the first alone.
    """
    failures = []
    if max_abs is not None and report.max_abs > max_abs:
        failures.append(f"largest difference {report.max_abs:.3g}, at most {max_abs:.3g}")
    if min_cosine is not None and report.cosine < min_cosine:
        failures.append(f"cosine {report.cosine:.6f}, at least {min_cosine}")
    if min_sqnr_db is not None and report.sqnr_db is not None and report.sqnr_db < min_sqnr_db:
        failures.append(f"SQNR {report.sqnr_db:.1f} dB, at least {min_sqnr_db}")
    if min_top1_agreement is not None and report.top1_agreement < min_top1_agreement:
        failures.append(
            f"top-1 agreement {report.top1_agreement:.4f}, at least {min_top1_agreement:.4f}"
        )
    if failures:
        raise GateFailed(f"{what}, {report.n} images: " + "; ".join(failures))
