"""Which rows of two benchmarks are about one model."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

from exporters.latency.bench_file import BenchRow

__all__ = ["Pair", "match_rows"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """Two rows about one model."""

    base: BenchRow
    new: BenchRow
    matched_by: str
    """What they have in common."""


def match_rows(
    base: Sequence[BenchRow], new: Sequence[BenchRow]
) -> tuple[list[Pair], list[BenchRow], list[BenchRow]]:
    """Pairs rows by path, else by file name, else by role, precision and target.

    Rows of another batch or number of threads are other rows. What several rows of one side have
    in common pairs them in their order where both sides have as many, and pairs none otherwise.

    Returns:
        The pairs in the order of the base, then the rows without a partner of base and of new.
    """
    ways: list[tuple[str, Callable[[BenchRow], tuple[Hashable, ...]]]] = [
        ("path", lambda row: (row.path,)),
        ("file name", lambda row: (row.name,)),
        ("role, precision and target", lambda row: (row.role, row.precision, row.target)),
    ]
    left, right = list(range(len(base))), list(range(len(new)))
    found: dict[int, Pair] = {}
    for said, key in ways:
        for i, j in _partners(base, new, left, right, key):
            found[i] = Pair(base=base[i], new=new[j], matched_by=said)
            left.remove(i)
            right.remove(j)
    return [found[i] for i in sorted(found)], [base[i] for i in left], [new[j] for j in right]


def _partners(
    base: Sequence[BenchRow],
    new: Sequence[BenchRow],
    left: Sequence[int],
    right: Sequence[int],
    key: Callable[[BenchRow], tuple[Hashable, ...]],
) -> list[tuple[int, int]]:
    def groups(rows: Sequence[BenchRow], kept: Sequence[int]) -> dict[Hashable, list[int]]:
        found: dict[Hashable, list[int]] = {}
        for index in kept:
            row = rows[index]
            if None not in key(row)[:1]:
                found.setdefault((*key(row), row.batch, row.threads), []).append(index)
        return found

    ours, theirs = groups(base, left), groups(new, right)
    return [
        pair
        for name, indices in ours.items()
        if len(theirs.get(name, ())) == len(indices)
        for pair in zip(indices, theirs[name], strict=True)
    ]
