from __future__ import annotations

import pytest

from cake_edge.errors import UsageMistake
from exporters.latency.scenario_config import SCENARIOS, ScenarioConfig


def test_the_names_are_mlperf_s():
    assert list(SCENARIOS) == ["single-stream", "multi-stream", "offline", "server"]


@pytest.mark.parametrize(
    ("options", "images", "share", "queries"),
    [
        ({"scenario": "single-stream"}, 1, 0.90, 100),
        ({"scenario": "single-stream", "min_queries": 5}, 1, 0.90, 64),
        ({"scenario": "multi-stream", "streams": 3}, 3, 0.99, 662),
        ({"scenario": "offline", "batch": 16}, 16, None, 100),
        ({"scenario": "server", "qps": 9.0}, 1, 0.99, 662),
    ],
)
def test_each_scenario_has_its_batch_its_percentile_and_its_count(options, images, share, queries):
    config = ScenarioConfig(**options)
    assert (config.images_per_query, config.share, config.queries) == (images, share, queries)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"scenario": "singlestream"}, "did you mean single-stream"),
        ({"streams": 0}, "streams is 0"),
        ({"min_seconds": -1}, "min_seconds is -1"),
        ({"min_seconds": 9, "max_seconds": 8}, "max_seconds is 8"),
        ({"max_seconds": float("inf")}, "finite"),
        ({"qps": 5.0}, "belong to the scenario server"),
        ({"scenario": "server"}, "needs qps"),
        ({"scenario": "server", "qps": 0.0}, "qps is 0"),
        ({"scenario": "server", "qps": 0.5}, "60 of 100 queries"),
        ({"scenario": "server", "bound_ms": -1.0}, "bound_ms is -1"),
        ({"scenario": "server", "bound_ms": 7000.0}, "runs of 20 times that"),
        ({"workers": 2}, "one query after another"),
    ],
)
def test_settings_that_make_no_run_are_refused(options, said):
    with pytest.raises(UsageMistake, match=said):
        ScenarioConfig(**options)
