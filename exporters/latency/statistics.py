"""What raw latencies say: percentiles, paired comparison, and whether the machine held still.

Percentiles are nearest-rank: the smallest sample that at least that share of all samples does not
exceed, so each is a latency that was really seen (trtexec and MLPerf count the same way). With n
samples, (1 - q) n of them lie beyond percentile q; a p99 that rests on a handful says little.

Intervals are percentile bootstraps over circular blocks (Politis and Romano 1992). Neighbouring
rounds share the machine's mood, so resampling them one by one would promise too narrow an interval;
blocks of about the cube root of n keep that dependence.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cake_edge.errors import NumericsError, UsageMistake

__all__ = [
    "Interval",
    "Samples",
    "Stability",
    "Summary",
    "bootstrap_median",
    "doubts",
    "paired_ratio",
    "stability",
    "summarise",
]

Samples = npt.NDArray[np.float64]

P99_SAMPLES = 1000
"""Below this count fewer than ten samples lie beyond the 99th percentile."""
WINDOWS = 10
WINDOW_SAMPLES = 10
SPREAD_LIMIT = 0.10
"""Window medians further apart than this share of their median mean an unstable machine."""
LAST_WINDOWS = 3
"""So many windows that agree end what Triton's Model Navigator takes for warming up."""
CV_LIMIT = 0.025
"""trtexec calls times unstable whose coefficient of variation is larger."""
_CHUNK = 1 << 21


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """The distribution of one model's latencies, in milliseconds."""

    count: int
    """Number of samples."""
    mean: float
    """Arithmetic mean."""
    std: float
    """Sample standard deviation (n - 1 in the denominator); 0 for one sample."""
    cv: float
    """Coefficient of variation: std / mean."""
    minimum: float
    """Fastest call."""
    maximum: float
    """Slowest call."""
    p50: float
    """Median, nearest-rank as the others."""
    p90: float
    """90th percentile."""
    p95: float
    """95th percentile."""
    p99: float
    """99th percentile."""
    p99_reliable: bool
    """False where fewer than ten samples lie beyond p99."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """An estimate with a bootstrap interval."""

    estimate: float
    """The median over rounds."""
    low: float
    """Lower end."""
    high: float
    """Upper end."""
    confidence: float
    """Share of resamples inside, 0.95 as a rule."""

    def to_dict(self) -> dict[str, float]:
        """Plain values for JSON."""
        return {
            "estimate": self.estimate,
            "low": self.low,
            "high": self.high,
            "confidence": self.confidence,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Stability:
    """Whether the median stayed where it was while time passed."""

    medians: tuple[float, ...]
    """Median of each window in the order of time, in milliseconds."""
    spread: float | None
    """(largest - smallest) / median of those; None where there are too few samples to tell."""
    unstable: bool
    """The spread is over a tenth, or cannot be told."""
    settled: bool
    """The last three windows are within a tenth of each other, whatever came before."""


def summarise(samples_ms: Samples) -> Summary:
    """Summarises raw latencies, shape [n], in milliseconds.

    Raises:
        NumericsError: there are none, or one is negative or not finite.
    """
    values = _checked(samples_ms)
    mean = float(values.mean())
    std = float(values.std(ddof=1)) if values.size > 1 else 0.0
    p50, p90, p95, p99 = (
        float(v) for v in np.percentile(values, (50, 90, 95, 99), method="inverted_cdf")
    )
    return Summary(
        count=int(values.size),
        mean=mean,
        std=std,
        cv=std / mean if mean > 0 else 0.0,
        minimum=float(values.min()),
        maximum=float(values.max()),
        p50=p50,
        p90=p90,
        p95=p95,
        p99=p99,
        p99_reliable=values.size >= P99_SAMPLES,
    )


def stability(samples_ms: Samples) -> Stability:
    """Compares the medians of up to ten equal windows of samples, [n] in the order of time.

    Single slow calls belong to the percentiles; a median that moves means that the machine changed
    under the measurement (clock, heat, neighbours), and then no single figure describes the model.
    """
    values = _checked(samples_ms)
    count = min(WINDOWS, values.size // WINDOW_SAMPLES)
    if count < 3:
        return Stability(medians=(), spread=None, unstable=True, settled=False)
    medians = tuple(float(np.median(part)) for part in np.array_split(values, count))
    spread = _spread(medians)
    return Stability(
        medians=medians,
        spread=spread,
        unstable=spread > SPREAD_LIMIT,
        settled=_spread(medians[-LAST_WINDOWS:]) <= SPREAD_LIMIT,
    )


def doubts(summary: Summary, stability: Stability) -> tuple[str, ...]:
    """Returns sentences on what keeps a median from being the whole story; none where all is well.

    Args:
        summary: of the samples.
        stability: of the same samples.
    """
    said = []
    if stability.spread is None:
        said.append(f"{summary.count} calls are too few to tell whether the machine held still")
    elif stability.unstable:
        moved = f"the median moved by {100 * stability.spread:.0f} % while it was measured"
        said.append(
            f"{moved}, and had settled at the end: warm up longer"
            if stability.settled
            else f"{moved}: other work, heat or clocks that change shaped it"
        )
    if summary.cv > CV_LIMIT:
        said.append(
            f"calls scatter by {100 * summary.cv:.0f} % of their mean, over "
            f"{100 * CV_LIMIT:g} %: read the percentiles beside the mean"
        )
    if not summary.p99_reliable:
        said.append(f"p99 rests on fewer than ten of {summary.count} calls")
    return tuple(said)


def paired_ratio(a: Samples, b: Samples, *, seed: int = 0) -> Interval:
    """Median of a[i] / b[i] over interleaved rounds, [n] each; above 1, b is the faster.

    Raises:
        UsageMistake: the two are not of one length.
        NumericsError: a value of b is zero.
    """
    first, second = _pair(a, b)
    if not second.all():
        raise NumericsError("a latency of zero has no ratio: the clock is too coarse for one call")
    return bootstrap_median(first / second, seed=seed)


def bootstrap_median(
    values: Samples, *, seed: int = 0, resamples: int = 2000, confidence: float = 0.95
) -> Interval:
    """Median of values in the order of time, [n], with a circular block bootstrap interval."""
    n = values.size
    if n == 0:
        raise NumericsError("no samples to compare: at least one round must be measured")
    block = max(1, round(n ** (1 / 3)))
    draw = _block_sampler(n, block, np.random.default_rng(seed))
    rows = max(1, _CHUNK // n)
    medians = np.concatenate(
        [
            np.median(values[draw(min(rows, resamples - start))], axis=1)
            for start in range(0, resamples, rows)
        ]
    )
    tail = (1 - confidence) / 2
    low, high = np.quantile(medians, (tail, 1 - tail))
    return Interval(
        estimate=float(np.median(values)),
        low=float(low),
        high=float(high),
        confidence=confidence,
    )


def _block_sampler(
    n: int, block: int, random: np.random.Generator
) -> Callable[[int], npt.NDArray[np.intp]]:
    """Returns a function giving [rows, n] indices made of runs of `block` neighbours."""
    runs = -(-n // block)
    offsets = np.arange(block)

    def draw(rows: int) -> npt.NDArray[np.intp]:
        starts = random.integers(0, n, size=(rows, runs, 1))
        return ((starts + offsets) % n).reshape(rows, -1)[:, :n]

    return draw


def _spread(medians: Sequence[float]) -> float:
    """(largest - smallest) / median."""
    middle = float(np.median(medians))
    return (max(medians) - min(medians)) / middle if middle > 0 else 0.0


def _pair(a: Samples, b: Samples) -> tuple[Samples, Samples]:
    first, second = _checked(a), _checked(b)
    if first.size != second.size:
        raise UsageMistake(
            f"{first.size} and {second.size} rounds cannot be paired: "
            "compare models that were measured together"
        )
    return first, second


def _checked(samples: Samples) -> Samples:
    values = np.asarray(samples, dtype=np.float64).reshape(-1)
    if values.size == 0:
        raise NumericsError("no latency samples: at least one call must be measured")
    if not np.isfinite(values).all() or (values < 0).any():
        raise NumericsError("latency samples must be finite and not negative")
    return values
