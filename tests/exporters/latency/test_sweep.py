"""Batch sizes of a sweep and where it ends."""

from __future__ import annotations

import pytest

from exporters.latency.sweep import BatchSweep, doublings


@pytest.mark.parametrize(
    ("largest", "batches"), [(1, [1]), (2, [1, 2]), (7, [1, 2, 4]), (8, [1, 2, 4, 8])]
)
def test_batches_double_up_to_the_largest(largest: int, batches: list[int]) -> None:
    assert list(doublings(largest)) == batches


def test_two_steps_without_gain_end_it() -> None:
    sweep = BatchSweep(64)
    for batch, throughput in ((1, 100.0), (2, 150.0), (4, 152.0)):
        sweep.add(batch, throughput)
        assert sweep.why is None
    sweep.add(8, 155.0)
    assert sweep.why is not None
    assert "less than 5%" in sweep.why


def test_the_largest_batch_ends_it() -> None:
    sweep = BatchSweep(5)
    for batch in (1, 2):
        sweep.add(batch, batch * 100.0)
        assert sweep.why is None
    sweep.add(4, 400.0)
    assert sweep.why == "it is the largest that was asked for"


def test_what_cannot_be_measured_ends_it() -> None:
    sweep = BatchSweep(64)
    sweep.stop("it is too large")
    assert sweep.why == "it is too large"
