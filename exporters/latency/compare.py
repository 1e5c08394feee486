"""Holds one benchmark's result against another, model by model."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from cake_edge.errors import UsageMistake
from exporters.latency.bench_file import BenchFile, BenchRow
from exporters.latency.gate import Change, Resampled, compare_samples, judge, resample, worsening
from exporters.latency.likeness import Difference, differences, disturbance
from exporters.latency.limits import MEASURES, Limit
from exporters.latency.match import Pair, match_rows

__all__ = [
    "CannotCompare",
    "Comparison",
    "Judged",
    "compare_files",
    "compare_samples",
]

SHOWN = ("p50", "p90", "p99", "bytes", "top1", "agreement", "energy")
"""Measures that are shown where there is no limit for them."""


class CannotCompare(UsageMistake):
    """Two results that cannot be held against each other."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """One measure of one model."""

    name: str
    """One of `MEASURES`."""
    limit: Limit | None
    """What it was held to, or None where it is only shown."""
    change: Change | None
    """None where one side has no value."""
    verdict: str
    """worse, noisy, ok or better; shown without a limit; missing without a value."""
    why: str
    """What spoke for the verdict."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Everything that a comparison found."""

    base: BenchFile
    new: BenchFile
    limits: tuple[Limit, ...]
    pairs: tuple[tuple[Pair, tuple[Judged, ...]], ...]
    """In the order of the base."""
    only_base: tuple[BenchRow, ...]
    """Rows without a partner."""
    only_new: tuple[BenchRow, ...]
    differences: tuple[Difference, ...]
    """What else differed; empty unless that was allowed."""

    def count(self, verdict: str) -> int:
        """How many measures have a verdict."""
        return sum(judged.verdict == verdict for _, all_ in self.pairs for judged in all_)

    @property
    def worse(self) -> bool:
        """Whether anything is worse."""
        return self.count("worse") > 0

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "schema_version": 1,
            "base": str(self.base.path),
            "new": str(self.new.path),
            "verdict": "worse" if self.worse else "ok",
            "limits": [str(limit) for limit in self.limits],
            "models": [
                {
                    "base": pair.base.path,
                    "new": pair.new.path,
                    "matched_by": pair.matched_by,
                    "same_bytes": pair.base.sha256 is not None
                    and pair.base.sha256 == pair.new.sha256,
                    "measures": [_judged(judged) for judged in all_],
                }
                for pair, all_ in self.pairs
            ],
            "only_base": [row.path for row in self.only_base],
            "only_new": [row.path for row in self.only_new],
            "differences": [asdict(difference) for difference in self.differences],
        }


def compare_files(
    base: BenchFile,
    new: BenchFile,
    limits: Sequence[Limit],
    *,
    allow_different: bool = False,
    seed: int = 0,
) -> Comparison:
    """Compares every model that both results have.

    Args:
        allow_different: compare although machines or settings differ.

    Raises:
        CannotCompare: the environments differ, no rows match, or a limit is on something that no
            pair of rows has.
    """
    found = differences(base, new)
    if found and not allow_different:
        raise CannotCompare(
            f"{base.path} and {new.path} were not measured alike ({'; '.join(map(str, found))}): "
            "measure both on one machine with one setting, or compare all the same with "
            "--allow-different"
        )
    pairs, only_base, only_new = match_rows(base.rows, new.rows)
    if not pairs:
        raise CannotCompare(
            f"{base.path} and {new.path} have no model in common; the first holds "
            f"{_names(base.rows)}, the second {_names(new.rows)}"
        )
    judged = [(pair, _judge_pair(base, new, pair, limits, seed)) for pair in pairs]
    _require(limits, [each for _, all_ in judged for each in all_], base, new)
    return Comparison(
        base=base,
        new=new,
        limits=tuple(limits),
        pairs=tuple(judged),
        only_base=tuple(only_base),
        only_new=tuple(only_new),
        differences=tuple(found),
    )


def _judge_pair(
    base: BenchFile, new: BenchFile, pair: Pair, limits: Sequence[Limit], seed: int
) -> tuple[Judged, ...]:
    by_name = {limit.name: limit for limit in limits}
    names = [*by_name, *(name for name in SHOWN if name not in by_name)]
    before, after = pair.base, pair.new
    sampled = None
    if before.samples_ms is not None and after.samples_ms is not None:
        sampled = resample(before.samples_ms, seed=seed), resample(after.samples_ms, seed=seed + 1)
    disturbed = _disturbed(base, new, pair)
    found = []
    for name in names:
        judged = _judge(name, by_name.get(name), pair, sampled, disturbed)
        if judged.limit is not None or judged.change is not None:
            found.append(judged)
    return tuple(found)


def _judge(
    name: str,
    limit: Limit | None,
    pair: Pair,
    sampled: tuple[Resampled, Resampled] | None,
    disturbed: str | None,
) -> Judged:
    # Without a limit any will do: the change and its interval are the same.
    held = limit or Limit(name=name, amount=0, relative=True)
    if MEASURES[name].percentile is not None:
        change = judge(*sampled, held, disturbed=disturbed) if sampled else None
    else:
        change = _judge_values(pair, held)
    if change is None:
        measured = MEASURES[name].percentile is not None or name == "energy"
        failed = pair.new.failure is not None
        lost = limit is not None and measured and failed and _has(pair.base, name)
        return Judged(
            name=name,
            limit=limit,
            change=None,
            verdict="worse" if lost else "missing",
            why=f"not measured any more: {pair.new.failure}" if lost else _missing(pair, name),
        )
    verdict, why = (change.verdict, change.why) if limit else ("shown", "no limit was given")
    return Judged(name=name, limit=limit, change=change, verdict=verdict, why=why)


def _judge_values(pair: Pair, limit: Limit) -> Change | None:
    before, after = _value(pair.base, limit.name), _value(pair.new, limit.name)
    if before is None or after is None:
        return None
    uncertainty = None
    if limit.name == "energy":
        first, second = pair.base.energy_uncertainty_mj, pair.new.energy_uncertainty_mj
        if first is not None and second is not None:
            uncertainty = math.hypot(first, second)
    return worsening(before, after, limit, uncertainty)


def _value(row: BenchRow, name: str) -> float | None:
    values = {
        "bytes": row.bytes,
        "energy": row.energy_mj,
        "top1": row.top1,
        "agreement": row.agreement,
    }
    return values[name]


def _has(row: BenchRow, name: str) -> bool:
    if MEASURES[name].percentile is not None:
        return row.samples_ms is not None
    return _value(row, name) is not None


def _missing(pair: Pair, name: str) -> str:
    sides = [side for side in ("base", "new") if not _has(getattr(pair, side), name)]
    what = "samples" if MEASURES[name].percentile is not None else name
    return f"no {what} in {' and '.join(sides)}"


def _disturbed(base: BenchFile, new: BenchFile, pair: Pair) -> str | None:
    for side, file, row in (("base", base, pair.base), ("new", new, pair.new)):
        why = disturbance(file, row)
        if why is not None:
            return f"{side}: {why}"
    return None


def _require(
    limits: Sequence[Limit], judged: Sequence[Judged], base: BenchFile, new: BenchFile
) -> None:
    """Refuses a limit that nothing was held to: a gate that cannot close is no gate."""
    for limit in limits:
        found = [each for each in judged if each.name == limit.name]
        if all(each.verdict == "missing" for each in found):
            raise CannotCompare(
                f"{limit} cannot be judged in {base.path} and {new.path} ({found[0].why}): measure "
                "it in both, or leave that limit out"
            )


def _names(rows: Sequence[BenchRow]) -> str:
    return ", ".join(f"{row.path} (batch {row.batch})" for row in rows)


def _judged(judged: Judged) -> dict[str, Any]:
    change = judged.change
    return {
        "measure": judged.name,
        "unit": MEASURES[judged.name].unit,
        "limit": str(judged.limit) if judged.limit else None,
        "base": change.base if change else None,
        "new": change.new if change else None,
        "change": change.interval.to_dict() if change and change.interval else None,
        "verdict": judged.verdict,
        "why": judged.why,
    }
