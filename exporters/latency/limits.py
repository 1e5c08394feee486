"""What a comparison may fail on: `p50:+5%,top1:-0.5` read into limits.

A limit names a measure and how far it may move in its bad direction: a latency, a size or an energy
may grow, an accuracy may fall. With % the change is relative to the base; without,
it is in the measure's own unit, which for accuracies is percentage points.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

from cake_edge.errors import UsageMistake, near_names

__all__ = ["MEASURES", "Limit", "Measure", "parse_limits"]

FORM = re.compile(
    r"\s*(?P<name>\w+)\s*:\s*(?P<sign>[+-])(?P<amount>\d+(?:\.\d+)?)(?P<percent>%?)\s*"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """Something of a model that can get worse."""

    grows: bool
    """True where more is worse."""
    unit: str
    """What its values are in."""
    percentile: float | None = None
    """Of latencies: which; 0 stands for the mean. None where there is one value and no samples."""


MEASURES: Mapping[str, Measure] = {
    "p50": Measure(grows=True, unit="ms", percentile=50),
    "p90": Measure(grows=True, unit="ms", percentile=90),
    "p95": Measure(grows=True, unit="ms", percentile=95),
    "p99": Measure(grows=True, unit="ms", percentile=99),
    "mean": Measure(grows=True, unit="ms", percentile=0),
    "bytes": Measure(grows=True, unit="bytes"),
    "energy": Measure(grows=True, unit="mJ"),
    "top1": Measure(grows=False, unit="points"),
    "agreement": Measure(grows=False, unit="points"),
}
"""By the name that a limit has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """How far a measure may get worse."""

    name: str
    """One of `MEASURES`."""
    amount: float
    """The change in the bad direction that is still borne; 0 bears none."""
    relative: bool
    """`amount` is in percent of the base; else in the measure's unit."""

    def __post_init__(self) -> None:
        if self.name not in MEASURES:
            raise UsageMistake(
                f"{self.name!r} is no measure; allowed: {', '.join(MEASURES)}"
                f"{near_names(self.name, MEASURES)}"
            )
        if not 0 <= self.amount < math.inf:
            raise UsageMistake(f"the amount of {self.name} is {self.amount}; it must be 0 or more")

    @property
    def measure(self) -> Measure:
        """What is known of the measure."""
        return MEASURES[self.name]

    def __str__(self) -> str:
        sign = "+" if self.measure.grows else "-"
        return f"{self.name}:{sign}{self.amount:g}{'%' if self.relative else ''}"


def parse_limits(text: str) -> tuple[Limit, ...]:
    """Reads limits parted by commas.

    Raises:
        UsageMistake: a limit is of another form, names no measure, names one twice, or has the sign
            of an improvement.
    """
    limits = tuple(_parse(part) for part in text.split(","))
    names = [limit.name for limit in limits]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UsageMistake(f"{', '.join(twice)} is limited twice in {text!r}; give one limit each")
    return limits


def _parse(part: str) -> Limit:
    found = FORM.fullmatch(part.strip())
    if found is None:
        raise UsageMistake(
            f"{part.strip()!r} is no limit; write a measure, a colon, a sign and an amount: "
            "p50:+5%, bytes:+0% or top1:-0.5"
        )
    limit = Limit(
        name=found["name"], amount=float(found["amount"]), relative=found["percent"] == "%"
    )
    if (found["sign"] == "+") != limit.measure.grows:
        raise UsageMistake(
            f"{part.strip()!r} limits an improvement: {limit.name} gets worse when it "
            f"{'grows' if limit.measure.grows else 'falls'}; did you mean {limit}?"
        )
    return limit
