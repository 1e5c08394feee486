"""One model with its input, timed in bursts."""

from __future__ import annotations

import time

import numpy as np

from exporters.latency.lane import Images, Lane

IMAGES = np.zeros((1, 1, 2, 2), np.float32)


class Sleeper:
    """Calls take the times it was given, in turn."""

    def __init__(self, *times_ms: float) -> None:
        self._times = times_ms
        self.calls = 0

    def infer(self, images: Images, /) -> Images:
        time.sleep(self._times[self.calls % len(self._times)] / 1e3)
        self.calls += 1
        return images


def test_the_first_call_of_a_turn_is_outside_the_clock() -> None:
    lane = Lane(Sleeper(50, 1, 1, 1), IMAGES)
    lane.turn(3)
    (turn,) = lane.turns_ns
    assert len(turn) == 3
    assert all(each >= 0.99e6 for each in turn)
    assert sum(turn) <= lane.wall_ns


def test_a_model_may_be_called_for_a_while_before_the_clock_starts() -> None:
    lane = Lane(Sleeper(0), IMAGES)
    start = time.perf_counter_ns()
    lane.turn(1, settle_seconds=0.005)
    assert time.perf_counter_ns() - start - lane.wall_ns >= 5e6
    assert len(lane.turns_ns[0]) == 1
    short = Sleeper(0)
    Lane(short, IMAGES).turn(1)
    assert short.calls == 2


def test_wall_time_adds_up_over_turns() -> None:
    lane = Lane(Sleeper(1), IMAGES)
    lane.turn(2)
    once = lane.wall_ns
    lane.turn(2)
    assert lane.wall_ns >= once + 1.98e6
    assert len(lane.turns_ns) == 2


def test_warm_up_meets_count_and_time() -> None:
    by_count, by_time = Sleeper(0), Sleeper(5)
    Lane(by_count, IMAGES).warm_up(count=7, seconds=0)
    lane = Lane(by_time, IMAGES)
    lane.warm_up(count=1, seconds=0.02)
    assert by_count.calls == 7
    assert by_time.calls == len(lane.warmup_ns) >= 2
