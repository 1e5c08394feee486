from __future__ import annotations

from typing import Any

import pytest

from exporters.report.pareto import dominators


def row(top1: float | None, p50: float | None, size: int) -> Any:
    return {"top1": top1, "latency_ms": None if p50 is None else {"p50": p50}, "bytes": size}


@pytest.mark.parametrize(
    ("models", "expected"),
    [
        ([], []),
        ([row(90, 1, 10)], [None]),
        ([row(90, 1, 10), row(80, 0.5, 5)], [None, None]),
        ([row(90, 1, 10), row(80, 2, 20)], [None, 0]),
        ([row(80, 2, 20), row(90, 1, 10)], [1, None]),
        ([row(90, 1, 10), row(90, 1, 10)], [None, None]),
        ([row(90, 1, 10), row(90, 1, 11)], [None, 0]),
        ([row(90, 1, 10), row(90, 0.9, 11)], [None, None]),
        ([row(90, None, 10), row(80, None, 20)], [None, 0]),
        ([row(90, 1, 10), row(80, None, 20)], [None, None]),
        ([row(None, 1, 10), row(None, 2, 20)], [None, None]),
    ],
)
def test_a_model_is_dominated_only_by_one_that_is_nowhere_worse(
    models: list[Any], expected: list[int | None]
) -> None:
    assert dominators(models) == expected
