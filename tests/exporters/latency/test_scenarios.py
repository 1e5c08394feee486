from __future__ import annotations

import json

import numpy as np
import pytest
from reference.queues import Model, Time, lindley

from cake_edge.errors import UsageMistake
from exporters.latency.early_stopping import percentile_bound
from exporters.latency.scenarios import ScenarioConfig, run_scenario
from exporters.latency.server import poisson_arrivals

IMAGES = np.arange(5, dtype=np.float32).reshape(5, 1, 1, 1) * np.ones((5, 3, 2, 2), np.float32)


def run(services, *, images=IMAGES, **options):
    """A scenario on a model that takes these seconds a call, in time that passes at once."""
    clock = Time()
    model = Model(clock, services)
    options = {"warmup_seconds": 0.0, **options}
    return run_scenario(model, images, ScenarioConfig(**options), clock=clock), model


def test_single_stream_lasts_for_a_time_and_a_count():
    long, _ = run([0.01], min_seconds=2.0, min_queries=64)
    assert long.samples_ms.size == 200
    assert long.seconds == pytest.approx(2.0)
    many, _ = run([0.01], min_seconds=0.1, min_queries=150)
    assert many.samples_ms.size == 150


def test_single_stream_tells_the_estimate_of_p90():
    services = np.random.default_rng(0).lognormal(-5, 0.5, size=1000)
    found, _ = run(services, min_seconds=0.0, min_queries=997)
    told = found.to_dict()
    expected = percentile_bound(1e3 * np.roll(services, -3)[:997], 0.90)
    assert told["value"] == told["early_stopping_ms"] == pytest.approx(expected)
    assert told["value"] > told["latency_ms"]["p90"]
    assert told["metric"].startswith("p90 ms")
    assert told["valid"]


def test_a_run_too_short_for_its_percentile_has_no_value():
    found, _ = run([1.0], min_seconds=5.0, max_seconds=30.0)
    told = found.to_dict()
    assert told["value"] is None
    assert not told["valid"]
    assert told["why_invalid"] == [
        "30 queries say too little of p90, which needs 100: measure longer"
    ]
    assert told["latency_ms"]["p90"] == 1000.0


def test_multi_stream_shows_several_images_at_once_and_begins_again():
    found, model = run([0.002], scenario="multi-stream", streams=2, min_seconds=0.0)
    assert found.samples_ms.size == 662
    assert found.images == 1324
    assert [images[:, 0, 0, 0].tolist() for images in model.seen[3:7]] == [
        [0.0, 1.0],
        [2.0, 3.0],
        [4.0, 0.0],
        [0.0, 1.0],
    ]
    assert found.to_dict()["metric"].startswith("p99 ms")


def test_offline_is_images_over_wall_time():
    found, _ = run([0.02], scenario="offline", batch=5, min_seconds=4.0)
    told = found.to_dict()
    assert told["value"] == told["images_per_second"] == pytest.approx(250.0)
    assert 4.0 <= told["seconds"] <= 4.03
    assert told["early_stopping_ms"] is None
    assert told["latency_ms"]["p50"] == pytest.approx(20.0)


def test_offline_makes_the_calls_asked_for_however_long_they_take():
    found, _ = run([1.0], scenario="offline", min_seconds=1.0, min_queries=20)
    assert found.samples_ms.size == 20
    assert found.to_dict()["valid"]


def test_server_latency_counts_from_the_moment_a_query_was_due():
    services = np.random.default_rng(1).exponential(0.01, size=1000)
    found, _ = run(services, scenario="server", qps=70.0, min_seconds=10.0, seed=6)
    arrivals = poisson_arrivals(70.0, 700, seed=6)
    used = np.roll(services, -3)[:700]
    expected = 1e3 * (np.asarray(lindley(arrivals.tolist(), used.tolist())) + used)
    assert found.samples_ms == pytest.approx(expected, abs=1e-6)
    told = found.to_dict()
    assert told["value"] == pytest.approx(percentile_bound(expected, 0.99))
    assert told["server"]["wait_ms"]["p99"] < told["value"]
    assert told["server"]["busy"] == pytest.approx(0.7, abs=0.1)


def test_server_says_whether_the_bound_holds():
    options = {"scenario": "server", "qps": 50.0, "min_seconds": 10.0}
    assert run([0.01], bound_ms=60.0, **options)[0].to_dict()["server"]["held"] is True
    assert run([0.01], bound_ms=15.0, **options)[0].to_dict()["server"]["held"] is False
    assert run([0.01], **options)[0].to_dict()["server"]["held"] is None


def test_server_that_cannot_keep_up_has_no_latency():
    found, _ = run([0.01], scenario="server", qps=120.0, min_seconds=10.0)
    told = found.to_dict()
    assert told["value"] is None
    assert "behind" in told["why_invalid"][0]
    found, _ = run([0.1], scenario="server", qps=100.0, min_seconds=10.0, max_seconds=20.0)
    assert "given up" in found.to_dict()["why_invalid"][0]


def test_the_highest_rate_is_that_of_the_queue_s_theory():
    # At constant service of 10 ms and p99 within 40 ms the rate follows from the recursion.
    options = {"scenario": "server", "min_seconds": 100.0, "max_seconds": 1000.0}
    found, _ = run([0.01], bound_ms=40.0, **options)
    told = found.to_dict()
    rate = told["value"]
    assert told["server"]["held"] is True
    assert told["server"]["search"][-1]["confirms"]

    def p99(qps, seed):
        arrivals = poisson_arrivals(qps, 20_000, seed=seed).tolist()
        return np.percentile(np.asarray(lindley(arrivals, [0.01] * 20_000)) + 0.01, 99)

    assert np.mean([p99(rate * 0.95, seed) for seed in (21, 22, 23)]) < 0.040
    assert np.mean([p99(rate * 1.12, seed) for seed in (21, 22, 23)]) > 0.040


def test_a_bound_below_the_service_has_no_rate():
    found, _ = run([0.01], scenario="server", bound_ms=9.0, min_seconds=5.0)
    told = found.to_dict()
    assert told["value"] is None
    assert told["why_invalid"] == [
        "even without a queue p99 is 10 ms, over the bound of 9: no rate holds it"
    ]


def test_a_search_that_would_take_too_long_says_so():
    # 662 calls alone fit the time; at the rates that hold they do not.
    services = [0.02] + [0.001] * 49
    found, _ = run(services, scenario="server", bound_ms=20.5, min_seconds=0.1, max_seconds=1.0)
    told = found.to_dict()
    assert told["value"] is None
    assert "need longer than 1 s" in told["why_invalid"][0]


def test_a_result_is_plain_and_says_what_it_is_not():
    for options in (
        {"scenario": "single-stream"},
        {"scenario": "offline"},
        {"scenario": "server", "qps": 20.0},
        {"scenario": "server", "bound_ms": 50.0},
    ):
        found, _ = run([0.01], min_seconds=1.0, **options)
        told = json.loads(json.dumps(found.to_dict(), allow_nan=False))
        assert "not a submission" in told["note"]
        assert told["config"]["scenario"] == told["scenario"] == options["scenario"]


@pytest.mark.parametrize("images", [np.zeros((0, 3, 2, 2), np.float32), np.zeros((3, 2, 2))])
def test_images_that_are_none_are_refused(images):
    with pytest.raises(UsageMistake, match="images have shape"):
        run([0.01], images=images)
