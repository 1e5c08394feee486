"""Power and energy, on sensors whose truth is known."""

from __future__ import annotations

import math
import threading
from pathlib import Path

import numpy as np
import pytest
from reference.boards import BOARDS, plant

from cake_edge.errors import NumericsError, UsageMistake
from exporters.devices import find_rails
from exporters.latency.power import PowerSampler, PowerTrace, energy, sample_power


def trace_of(power, *, seconds=10.0, hz=50.0, rail="VDD_IN", start=0.0, noise=0.0, seed=0):
    """A trace of a function of time."""
    times = start + np.arange(0, seconds + 1e-9, 1 / hz)
    random = np.random.default_rng(seed)
    watts = np.array([power(t) for t in times]) + noise * random.standard_normal(times.size)
    return PowerTrace(rail=rail, seconds=times, watts=watts)


class Device:
    """A clock, and a sensor's files that follow a wave of it; waiting is what passes time."""

    def __init__(self, root: Path, power, *, until: float, lag: float = 0.0) -> None:
        self.now = 100.0
        self._power, self._until, self._lag = power, until, lag
        plant(root, BOARDS["orin-nano"])
        self._folder = root / "sys/class/hwmon/hwmon1"
        self._write()

    def _write(self) -> None:
        milliamperes = round(1e3 * self._power(self.now) / 5.0)
        (self._folder / "in1_input").write_text("5000\n")
        (self._folder / "curr1_input").write_text(f"{milliamperes}\n")

    def wait(self, seconds: float) -> bool:
        self.now += max(seconds, 0.0) + self._lag
        self._write()
        return self.now > self._until

    def sample(self, hz: float = 50.0) -> PowerTrace:
        rails = find_rails(self._folder.parents[3])
        sampler = PowerSampler(
            rails.reader(), rail=rails.name, hz=hz, clock=lambda: self.now, wait=self.wait
        )
        with sampler:
            pass  # leaving waits for the thread, which ends when `wait` says so
        return sampler.trace()


def test_the_energy_of_a_wave_is_recovered_from_a_sensors_files(tmp_path):
    def wave(t: float) -> float:
        return 5 + 2 * math.sin(2 * math.pi * 0.7 * t)

    trace = Device(tmp_path, wave, until=112.0).sample()
    found = energy(trace, [(101.0, 111.0)], inferences=1000)
    omega = 2 * math.pi * 0.7
    truth = 5 * 10 - 2 / omega * (math.cos(omega * 111.0) - math.cos(omega * 101.0))
    assert found.rail == "VDD_IN"
    assert found.millijoules == pytest.approx(truth, rel=0.002)
    assert found.mean_watts == pytest.approx(truth / 10, rel=0.002)
    assert found.peak_watts == pytest.approx(7, rel=0.002)
    assert found.doubts == ()


def test_readings_keep_to_their_rate_and_carry_the_clock_they_were_taken_by(tmp_path):
    trace = Device(tmp_path, lambda t: 5.0, until=110.0).sample(hz=20)
    assert trace.hz == pytest.approx(20)
    assert trace.seconds[0] == 100.0
    assert np.allclose(np.diff(trace.seconds), 0.05)


def test_late_readings_are_not_made_up_for(tmp_path):
    trace = Device(tmp_path, lambda t: 5.0, until=110.0, lag=0.2).sample(hz=10)
    assert np.diff(trace.seconds).min() >= 0.2 - 1e-9
    assert trace.hz < 10


def test_readings_that_the_sensor_refuses_are_counted_and_skipped():
    answers = iter([5.0, OSError("busy"), ValueError("empty"), 6.0])

    def read() -> float:
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    passed = []

    def wait(seconds: float) -> bool:
        passed.append(seconds)
        return len(passed) == 4

    with PowerSampler(read, rail="VIN", clock=lambda: float(len(passed)), wait=wait) as sampler:
        pass
    trace = sampler.trace()
    assert trace.watts.tolist() == [5.0, 6.0]
    assert trace.failures == 2


def test_work_is_sampled_for_as_long_as_it_lasts():
    enough = threading.Event()
    reads = []

    def read() -> float:
        reads.append(1)
        if len(reads) == 3:
            enough.set()
        return 4.0

    trace = sample_power(read, lambda: enough.wait(30), rail="VDD_IN", hz=1000)
    assert trace.watts.size >= 3
    assert set(trace.watts.tolist()) == {4.0}
    assert (np.diff(trace.seconds) > 0).all()
    assert not [thread for thread in threading.enumerate() if thread.name == "power"]


def test_the_thread_ends_when_the_work_fails():
    with pytest.raises(RuntimeError, match="no"), PowerSampler(lambda: 1.0, rail="VIN"):
        raise RuntimeError("no")
    assert not [thread for thread in threading.enumerate() if thread.name == "power"]


@pytest.mark.parametrize("hz", [9.9, 0.0, math.nan])
def test_a_slow_rate_is_refused(hz):
    with pytest.raises(UsageMistake, match="at least 10 Hz"):
        PowerSampler(lambda: 1.0, rail="VIN", hz=hz)


def test_idle_power_is_subtracted_and_also_not():
    idle = trace_of(lambda t: 3.0, seconds=5)
    busy = trace_of(lambda t: 8.0, start=6.0)
    found = energy(busy, [(6.5, 15.5)], idle, inferences=90)
    assert found.millijoules == pytest.approx(800)
    assert found.millijoules_above_idle == pytest.approx(500)
    assert found.idle_watts == pytest.approx(3.0)
    assert (found.inferences, found.seconds) == (90, 9.0)


def test_without_an_idle_measurement_nothing_is_subtracted():
    found = energy(trace_of(lambda t: 8.0), [(1.0, 9.0)])
    assert found.inferences == 1
    assert found.millijoules == pytest.approx(64_000)
    assert (found.idle_watts, found.millijoules_above_idle) == (None, None)
    assert found.millijoules_above_idle_uncertainty is None


def test_power_between_intervals_does_not_count():
    found = energy(
        trace_of(lambda t: 10.0 if int(t) % 2 == 0 else 2.0, hz=1000),
        [(0.1, 0.9), (2.1, 2.9), (4.1, 4.9)],
    )
    assert found.mean_watts == pytest.approx(10.0)
    assert found.inferences == 3
    assert found.seconds == pytest.approx(2.4)


def test_a_straight_line_is_integrated_exactly_between_readings():
    found = energy(trace_of(lambda t: 1 + t, hz=10), [(1.23, 8.77)])
    assert found.millijoules == pytest.approx(1000 * ((8.77 - 1.23) + (8.77**2 - 1.23**2) / 2))


def test_the_interval_of_sampling_holds_the_truth_about_as_often_as_it_says():
    held = 0
    for seed in range(200):
        trace = trace_of(lambda t: 6.0, noise=1.0, seed=seed)
        found = energy(trace, [(0.0, 10.0)], inferences=10_000)
        held += abs(found.millijoules - 6.0) <= found.millijoules_uncertainty
    assert 0.90 <= held / 200 <= 0.99


def test_both_measurements_make_the_difference_uncertain():
    idle, busy = trace_of(lambda t: 3.0, noise=0.3, seed=1), trace_of(lambda t: 8.0, noise=0.4)
    found = energy(busy, [(0.0, 10.0)], idle, inferences=100)
    alone = energy(busy, [(0.0, 10.0)], inferences=100).millijoules_uncertainty
    only_idle = energy(idle, [(0.0, 10.0)], inferences=100).millijoules_uncertainty
    assert found.millijoules_uncertainty == alone
    assert found.millijoules_above_idle_uncertainty == pytest.approx(
        math.hypot(alone, only_idle), rel=0.01
    )


def test_too_few_readings_are_doubted_and_have_no_interval():
    found = energy(trace_of(lambda t: 8.0, seconds=1.0, hz=10), [(0.0, 1.0)])
    assert found.millijoules_uncertainty is None
    assert any("only 11 readings" in doubt for doubt in found.doubts)


@pytest.mark.parametrize(
    ("trace", "interval", "idle", "doubt"),
    [
        (trace_of(lambda t: 8.0, hz=5, seconds=20), (0.0, 20.0), None, "5.0 times a second"),
        (trace_of(lambda t: 8.0), (5.0, 15.0), None, "do not span the run"),
        (trace_of(lambda t: 8.0), (0.0, 9.0), trace_of(lambda t: 3.0, seconds=0.5), "idle read"),
        (trace_of(lambda t: 8.0), (0.0, 9.0), trace_of(lambda t: 9.0), "hardly more"),
    ],
)  # fmt: skip
def test_what_spoils_a_figure_is_said(trace, interval, idle, doubt):
    assert any(doubt in said for said in energy(trace, [interval], idle).doubts)


def test_the_figures_are_plain_values():
    told = energy(trace_of(lambda t: 8.0), [(0.0, 9.0)]).to_dict()
    assert told["rail"] == "VDD_IN"
    assert told["doubts"] == []
    assert all(isinstance(v, (str, int, float, list, type(None))) for v in told.values())


@pytest.mark.parametrize(
    ("intervals", "words"),
    [
        ([], "at least one"),
        ([(3.0, 2.0)], "in order"),
        ([(1.0, 3.0), (2.0, 4.0)], "in order"),
        ([(1.0, 1.0)], "in order"),
    ],
)
def test_intervals_that_make_no_sense_are_refused(intervals, words):
    with pytest.raises(UsageMistake, match=words):
        energy(trace_of(lambda t: 8.0), intervals)


def test_idle_power_of_another_rail_is_refused():
    with pytest.raises(UsageMistake, match="one rail"):
        energy(trace_of(lambda t: 8.0), [(0, 1)], trace_of(lambda t: 8.0, rail="VIN"))


def test_no_readings_are_an_error():
    empty = PowerTrace(rail="VIN", seconds=np.zeros(0), watts=np.zeros(0), failures=7)
    with pytest.raises(NumericsError, match="7 refused"):
        energy(empty, [(0, 1)])


def test_times_and_watts_must_be_of_one_length():
    with pytest.raises(UsageMistake, match=r"both must be \[n\]"):
        PowerTrace(rail="VIN", seconds=np.zeros(2), watts=np.zeros(3))
