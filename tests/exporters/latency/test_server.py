from __future__ import annotations

import numpy as np
import pytest
from reference.queues import Model, SharedTime, Time, lindley, mean_wait_of_md1, one_line

from cake_edge.errors import UsageMistake
from exporters.latency.server import Limits, poisson_arrivals, serve

QUERIES = [np.full((1, 1, 2, 2), i, dtype=np.float32) for i in range(3)]


def served_by(services, arrivals, **options):
    clock = Time()
    model = Model(clock, services)
    return serve(model.infer, QUERIES, np.asarray(arrivals), clock, **options), model


def test_poisson_arrivals_have_exponential_gaps_of_the_rate():
    gaps = np.diff(poisson_arrivals(50.0, 20_001, seed=0))
    assert gaps.mean() == pytest.approx(1 / 50, rel=0.03)
    assert gaps.std() == pytest.approx(gaps.mean(), rel=0.03)
    assert np.mean(gaps > 1 / 50) == pytest.approx(np.exp(-1), abs=0.01)


def test_another_rate_of_one_seed_stretches_the_same_arrivals():
    slow, fast = poisson_arrivals(10.0, 100, seed=3), poisson_arrivals(40.0, 100, seed=3)
    assert slow == pytest.approx(4 * fast)
    assert not np.allclose(slow, poisson_arrivals(10.0, 100, seed=4))


def test_waits_and_latencies_are_those_of_lindley_s_recursion():
    services = np.random.default_rng(1).lognormal(-4.8, 0.5, size=2000)
    arrivals = poisson_arrivals(0.8 / services.mean(), 2000, seed=1)
    found, _ = served_by(services, arrivals)
    waits = lindley(arrivals.tolist(), services.tolist())
    assert found.waits == pytest.approx(waits, abs=1e-9)
    assert found.latencies == pytest.approx(waits + services, abs=1e-9)
    assert max(waits) > 5 * services.mean()


def test_the_mean_wait_at_constant_service_is_pollaczek_and_khinchine_s():
    found, _ = served_by([0.01], poisson_arrivals(70.0, 200_000, seed=2))
    assert found.waits.mean() == pytest.approx(mean_wait_of_md1(70.0, 0.01), rel=0.03)


def test_a_pause_of_the_model_is_seen_by_all_that_came_meanwhile():
    # Ten queries a second, and the first answer takes one second. Measured from when each was
    # sent, one latency would be long; ten are.
    arrivals = 0.1 * np.arange(20)
    found, _ = served_by([1.0] + [0.001] * 19, arrivals)
    assert np.count_nonzero(found.latencies > 0.05) == 10
    assert found.latencies[:3] == pytest.approx([1.0, 0.901, 0.802])


@pytest.mark.parametrize("workers", [2, 3])
def test_several_workers_serve_one_line(workers):
    services = np.random.default_rng(5).exponential(0.02, size=60)
    arrivals = poisson_arrivals(0.9 * workers / 0.02, 60, seed=5)
    clock = SharedTime("server", workers)
    model = Model(clock, services)
    found = serve(model.infer, QUERIES, arrivals, clock, workers=workers)
    assert found.waits == pytest.approx(one_line(arrivals, services, workers), abs=1e-9)
    assert found.waits.max() > 0


def test_queries_take_the_inputs_in_turn():
    _, model = served_by([0.001], np.arange(5.0))
    assert [int(images.flat[0]) for images in model.seen] == [0, 1, 2, 0, 1]


def test_a_clear_answer_ends_a_run():
    limits = Limits(bound=0.5, over=3)
    found, model = served_by([1.0], np.arange(10) / 10, limits=limits)
    assert len(model.seen) == 3
    assert found.unserved == 7
    assert found.latencies == pytest.approx([1.0, 1.9, 2.8])


def test_no_query_is_begun_after_the_time():
    found, _ = served_by([1.0], np.zeros(10), limits=Limits(seconds=2.5))
    assert (found.latencies.size, found.unserved, found.elapsed) == (3, 7, 3.0)
    found, _ = served_by([1.0], [0.5, 99.0], limits=Limits(seconds=2.5))
    assert (found.latencies.size, found.elapsed) == (1, 1.5)


def test_late_wake_ups_are_told_apart_from_the_queue():
    class Sleepy(Time):
        def sleep(self, seconds):
            super().sleep(seconds + 0.003)

    clock = Sleepy()
    found = serve(lambda _: clock.now(), QUERIES, np.array([1.0, 2.0, 2.001]), clock)
    assert found.wakeups == pytest.approx([0.003, 0.003, 0.0])
    assert found.waits == pytest.approx([0.003, 0.003, 0.002])


@pytest.mark.parametrize("workers", [1, 3])
def test_an_error_of_the_model_comes_through_and_ends_the_run(workers):
    calls = []

    def infer(images):
        calls.append(images)
        raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError, match="out of memory"):
        serve(infer, QUERIES, np.zeros(1000), Time(), workers=workers)
    assert len(calls) <= workers


def test_what_is_no_run_is_refused():
    with pytest.raises(UsageMistake, match="qps is 0"):
        poisson_arrivals(0, 10, seed=0)
    with pytest.raises(UsageMistake, match="count is 0"):
        poisson_arrivals(1.0, 0, seed=0)
    with pytest.raises(UsageMistake, match="0 workers"):
        serve(print, QUERIES, np.zeros(1), Time(), workers=0)
