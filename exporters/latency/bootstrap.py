"""How far a percentile of all calls may be off, where neighbouring rounds share the machine's mood.

The unit is a round: the calls of one turn follow each other at once, and are no independent
evidence. Rounds are drawn in circular blocks of neighbours (Politis and Romano 1992), so that a
spell of other work, which lasts many rounds, is drawn as a whole. A block is a twentieth of the
measurement; the usual cube root of n is right for noise that is short beside n, which that of a
shared machine is not.

Drawing a round twice is giving its calls the weight 2: all samples are sorted once, and the
percentile of a resample is where its running weight passes the share that is asked for,
nearest-rank as in `exporters.latency.statistics`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from exporters.latency.statistics import Samples

__all__ = ["BLOCKS", "percentile", "resampled_percentiles"]

BLOCKS = 20
"""Blocks a measurement is cut into."""
_CHUNK = 1 << 21


def percentile(samples_ms: Samples, share: float) -> float:
    """Nearest-rank percentile of all calls, [rounds, burst]; share 0 is the mean."""
    if share == 0:
        return float(samples_ms.mean())
    return float(np.percentile(samples_ms, share, method="inverted_cdf"))


def resampled_percentiles(
    samples_ms: Samples, shares: Sequence[float], *, resamples: int, seed: int
) -> npt.NDArray[np.float64]:
    """Percentiles of block resamples of [rounds, burst], as [resamples, len(shares)]."""
    rounds, burst = samples_ms.shape
    order = np.argsort(samples_ms, axis=None, kind="stable")
    values, owner = samples_ms.reshape(-1)[order], order // burst
    ranks = [max(0, int(np.ceil(share / 100 * values.size)) - 1) for share in shares]
    random = np.random.default_rng(seed)
    found = np.empty((resamples, len(shares)))
    step = max(1, _CHUNK // values.size)
    for start in range(0, resamples, step):
        counts = _counts(rounds, min(step, resamples - start), random)
        weights = counts[:, owner]
        passed = np.cumsum(weights, axis=1, dtype=np.int64)
        for column, (share, rank) in enumerate(zip(shares, ranks, strict=True)):
            part = slice(start, start + len(counts))
            if share == 0:
                found[part, column] = weights @ values / values.size
            else:
                # Of the sorted samples those lie before the percentile that the weight has not
                # carried past its rank; counting them finds it in every row at once.
                found[part, column] = values[np.count_nonzero(passed <= rank, axis=1)]
    return found


def _counts(rounds: int, rows: int, random: np.random.Generator) -> npt.NDArray[np.int64]:
    """How often each round is drawn in each resample, [rows, rounds]; a row adds to `rounds`."""
    block = max(1, round(rounds / BLOCKS))
    starts = random.integers(0, rounds, size=(rows, -(-rounds // block)))
    lengths = np.full(starts.shape, block)
    lengths[:, -1] = rounds - block * (starts.shape[1] - 1)
    # A block adds one from its start to its end: the running sum of +1 there and -1 behind it.
    marks = np.zeros((rows, 2 * rounds + 1), dtype=np.int64)
    row = np.arange(rows)[:, np.newaxis]
    np.add.at(marks, (row, starts), 1)
    np.subtract.at(marks, (row, starts + lengths), 1)
    drawn = np.cumsum(marks, axis=1)[:, : 2 * rounds]
    return np.asarray(drawn[:, :rounds] + drawn[:, rounds:])
