from __future__ import annotations

import gc
import time

import numpy as np
import pytest

from cake_edge.errors import UsageMistake
from exporters.latency.harness import (
    Images,
    LatencyConfig,
    LatencyResult,
    measure,
    paired_ratio,
    random_images,
)

QUICK = LatencyConfig(
    warmup_seconds=0, warmup_count=3, min_seconds=0, min_count=20, max_seconds=30, burst=4
)


class Sleeper:
    """A runtime whose calls take the times it was given, over and over."""

    def __init__(self, *times_ms: float, log: list[str] | None = None, name: str = "") -> None:
        self._times = times_ms
        self._log = log
        self._name = name
        self.calls = 0
        self.collector_was_on = False

    def infer(self, images: Images, /) -> Images:
        self.collector_was_on |= gc.isenabled()
        time.sleep(self._times[self.calls % len(self._times)] / 1e3)
        self.calls += 1
        if self._log is not None:
            self._log.append(self._name)
        return np.zeros((images.shape[0], 2), np.float32)


def images(batch: int = 1) -> Images:
    return np.zeros((batch, 1, 2, 2), np.float32)


def test_no_sample_is_shorter_than_the_call_it_times() -> None:
    (found,) = measure([Sleeper(2.0, 4.0)], [images()], QUICK)
    assert found.samples_ms.shape == (5, 4)
    assert (found.samples_ms >= 1.99).all()
    # Half of the calls sleep 4 ms, whatever else the machine does.
    assert (found.samples_ms >= 3.99).sum() >= 10
    assert found.summary.p90 >= 3.99


def test_each_turn_is_one_call_outside_the_clock_and_a_burst() -> None:
    log: list[str] = []
    models = [Sleeper(0, log=log, name=name) for name in "abc"]
    measure(models, [images()] * 3, QUICK)
    turns = "".join(log)[9:]
    assert len(turns) == 3 * 5 * 5
    blocks = [turns[start : start + 5] for start in range(0, len(turns), 5)]
    assert all(len(set(block)) == 1 for block in blocks)
    rounds = ["".join(block[0] for block in blocks[i : i + 3]) for i in range(0, len(blocks), 3)]
    assert all(sorted(order) == ["a", "b", "c"] for order in rounds)
    assert len(set(rounds)) > 1


def test_the_order_of_turns_is_decided_by_the_seed() -> None:
    def order(seed: int) -> list[str]:
        log: list[str] = []
        models = [Sleeper(0, log=log, name=name) for name in "abcd"]
        config = LatencyConfig(
            warmup_seconds=0, warmup_count=1, min_seconds=0, min_count=40, burst=1, seed=seed
        )
        measure(models, [images()] * 4, config)
        return log

    assert order(1) == order(1)
    assert order(1) != order(2)


def test_warm_up_meets_count_and_time_and_is_told_apart() -> None:
    slow_first = Sleeper(30.0, *[1.0] * 10_000)
    config = LatencyConfig(
        warmup_seconds=0.05, warmup_count=6, min_seconds=0, min_count=10, burst=5
    )
    (found,) = measure([slow_first], [images()], config)
    assert found.first_ms >= 29.9
    assert found.warmup_mean_ms < found.first_ms
    assert slow_first.calls >= 6 + 2 * 6


def test_measuring_goes_on_until_both_count_and_time_are_met() -> None:
    by_time = LatencyConfig(warmup_seconds=0, warmup_count=1, min_seconds=0.1, min_count=1, burst=2)
    start = time.perf_counter()
    (found,) = measure([Sleeper(1.0)], [images()], by_time)
    assert time.perf_counter() - start >= 0.1
    assert found.summary.count >= 2


def test_a_slow_model_stops_at_the_time_limit_with_whole_rounds() -> None:
    config = LatencyConfig(
        warmup_seconds=0, warmup_count=1, min_seconds=0, min_count=10**6, max_seconds=0.1, burst=2
    )
    a, b = measure([Sleeper(5.0), Sleeper(1.0)], [images()] * 2, config)
    assert a.samples_ms.shape == b.samples_ms.shape
    assert 2 <= a.summary.count < 100


def test_garbage_collection_is_off_inside_and_restored() -> None:
    model = Sleeper(0)
    assert gc.isenabled()
    measure([model], [images()], QUICK)
    assert not model.collector_was_on
    assert gc.isenabled()


def test_garbage_collection_is_restored_after_a_failure() -> None:
    class Broken:
        def infer(self, images: Images, /) -> Images:
            raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        measure([Broken()], [images()], QUICK)
    assert gc.isenabled()


def test_throughput_counts_images_over_wall_time() -> None:
    config = LatencyConfig(
        warmup_seconds=0, warmup_count=1, min_seconds=0, min_count=20, burst=5, batch=8
    )
    (found,) = measure([Sleeper(2.0)], [images(8)], config)
    # Wall time includes the gaps between calls, so it cannot beat the calls alone.
    assert found.throughput <= 8 * 1000 / found.summary.mean * 1.0001
    assert found.throughput <= 8 * 1000 / 1.99


def test_paired_ratio_says_how_many_times_faster_the_second_is() -> None:
    def result(samples: list[list[float]]) -> LatencyResult:
        return LatencyResult(
            samples_ms=np.array(samples), batch=1, first_ms=1, warmup_mean_ms=1, throughput=1
        )

    slow = result([[4, 4, 40], [8, 8, 8], [4, 4, 4]])
    fast = result([[2, 2, 2], [4, 4, 90], [2, 2, 2]])
    assert paired_ratio(slow, fast).estimate == 2.0
    assert paired_ratio(fast, slow).estimate == 0.5


def test_result_as_json_has_what_a_report_needs() -> None:
    (found,) = measure([Sleeper(0.1)], [images()], QUICK)
    row = found.to_dict()
    assert row["p50"] <= row["p90"] <= row["p95"] <= row["p99"] <= row["max"]
    assert row["n_samples"] == 20
    assert row["p99_reliable"] is False
    assert row["p99_bound"] is None
    assert row["settled"] in (True, False)
    assert row["batch"] == 1


def test_progress_ends_at_its_total() -> None:
    told: list[tuple[str, int, int]] = []
    measure([Sleeper(0)], [images()], QUICK, lambda task, i, n, note: told.append((task, i, n)))
    assert told[-1] == ("latency", 100, 100)
    assert [i for _, i, _ in told] == sorted(i for _, i, _ in told)


def test_random_images_are_decided_by_the_seed() -> None:
    config = LatencyConfig(batch=2, seed=3)
    found = random_images((3, 4, 5), config)
    assert found.shape == (2, 3, 4, 5)
    assert found.dtype == np.float32
    assert np.array_equal(found, random_images((3, 4, 5), config))


@pytest.mark.parametrize(
    ("sessions", "arrays", "words"),
    [
        ([], [], "no model"),
        ([Sleeper(0)], [], "0 image arrays for 1 models"),
        ([Sleeper(0)], [np.zeros((1, 2, 2), np.float32)], r"\[1, C, H, W\]"),
        ([Sleeper(0)], [images(2)], "for batch 1"),
    ],
)
def test_input_that_does_not_fit_is_refused(
    sessions: list[Sleeper], arrays: list[Images], words: str
) -> None:
    with pytest.raises(UsageMistake, match=words):
        measure(sessions, arrays, QUICK)


@pytest.mark.parametrize(
    "wrong", [{"burst": 0}, {"batch": 0}, {"min_seconds": -1.0}, {"max_seconds": 1.0}]
)
def test_settings_out_of_range_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(UsageMistake, match=next(iter(wrong))):
        LatencyConfig(**wrong)  # type: ignore[arg-type]


def test_enough_calls_bound_the_true_p99() -> None:
    found = LatencyResult(
        samples_ms=np.arange(1.0, 1001.0).reshape(-1, 5), batch=1, first_ms=1.0,
        warmup_mean_ms=1.0, throughput=1.0,
    ).to_dict()  # fmt: skip
    assert found["p99"] < found["p99_bound"] <= found["max"]
