"""Counts of what a model answers, and the shares they come to. Every share is in percent."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from cake_edge.spec import decisions

__all__ = ["Evaluation", "Tally", "wilson_interval"]

Floats = npt.NDArray[np.float32]

Z95 = 1.959963984540054
"""Quantile of the normal distribution behind a 95 % interval."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """What a model does on a data set."""

    top1: float
    """Percent of images whose highest logit is the label's; of a sigmoid's labels likewise."""
    top5: float
    """Percent of images whose label is among the five highest logits; of fewer classes, all."""
    interval95: tuple[float, float]
    """Wilson's 95 % interval of top1, in percent."""
    agreement: float | None
    """Percent of decisions that are the reference model's, if there is one: of images with the same
    highest logit; of a sigmoid, of all labels of all images that both find or neither does."""
    n: int
    """Number of images."""
    seconds: float
    """Time spent in the model; decoding is not counted."""
    overlap: float | None = None
    """Of a sigmoid, where there is a reference: of the labels that either of the two finds, the
    percent that both find. Few labels are in an image, so that models which find none agree."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; `overlap` is there where it says something."""
        values = {**asdict(self), "interval95": list(self.interval95)}
        if self.overlap is None:
            del values["overlap"]
        return values


@dataclass(slots=True)
class Tally:
    """What has been seen of one model so far; counts, and the reference's beside them."""

    first: int = 0
    five: int = 0
    compared: int = 0
    alike: int = 0
    either: int = 0
    both: int = 0
    seconds: float = 0.0

    def add(
        self, logits: Floats, labels: npt.NDArray[np.int64], reference: Floats | None, head: str
    ) -> None:
        """Counts one batch."""
        highest = np.argsort(-logits, axis=1, kind="stable")[:, :5]
        hits = highest == labels[:, None]
        self.first += int(hits[:, 0].sum())
        self.five += int(hits.any(axis=1).sum())
        if reference is None:
            return
        given, wanted = decisions(logits, head), decisions(reference, head)
        self.compared += given.size
        self.alike += int((given == wanted).sum())
        if head == "sigmoid":
            self.either += int((given | wanted).sum())
            self.both += int((given & wanted).sum())

    def result(self, count: int) -> Evaluation:
        """Shares of all `count` images."""
        return Evaluation(
            top1=100.0 * self.first / count,
            top5=100.0 * self.five / count,
            interval95=wilson_interval(self.first, count),
            agreement=100.0 * (self.alike / self.compared) if self.compared else None,
            n=count,
            seconds=self.seconds,
            overlap=100.0 * (self.both / self.either) if self.either else None,
        )


def wilson_interval(right: int, total: int) -> tuple[float, float]:
    """Returns Wilson's 95 % score interval of a share, in percent (Wilson 1927)."""
    share, z2 = right / total, Z95**2
    middle = (share + z2 / (2 * total)) / (1 + z2 / total)
    half = Z95 / (1 + z2 / total) * math.sqrt(share * (1 - share) / total + z2 / (4 * total**2))
    return 100.0 * max(0.0, middle - half), 100.0 * min(1.0, middle + half)
