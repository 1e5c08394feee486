"""What a benchmark elsewhere is asked to do."""

import math

import pytest

from cake_edge.errors import UsageMistake
from exporters.remote import BenchOptions


def test_options_cross_the_connection():
    options = BenchOptions(
        threads=(2, 1), batch=(4,), seconds=1.5, energy_seconds=0, seed=3, force=True
    )
    assert BenchOptions.from_json(options.to_json()) == options
    assert BenchOptions.from_json("{}") == BenchOptions()


@pytest.mark.parametrize(
    "text", ["", "[]", '{"speed": 1}', '{"threads": "many"}', '{"threads": 0}']
)
def test_what_is_no_option_is_refused(text):
    with pytest.raises(UsageMistake):
        BenchOptions.from_json(text)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("threads", (0,)), ("batch", ()), ("batch", (2, 2)), ("max_batch", 0),
        ("cold_runs", -1), ("timeout_seconds", 0), ("memory_limit_mib", 1),
        ("seconds", 0), ("seconds", math.nan), ("seed", -1),
        ("energy_seconds", -1), ("idle_seconds", math.inf), ("power_hz", 9),
    ],
)  # fmt: skip
def test_a_value_that_makes_no_sense_is_refused(name, value):
    with pytest.raises(UsageMistake, match=name):
        BenchOptions(**{name: value})


def test_more_models_and_longer_measurements_may_take_longer():
    short = BenchOptions(seconds=1).most_seconds(1)
    assert BenchOptions(seconds=1).most_seconds(3) > short
    assert BenchOptions(seconds=100).most_seconds(1) > short + 300


def test_engines_are_given_time_to_be_built():
    assert BenchOptions(runtime="tensorrt").most_seconds(1) > 3600
    assert BenchOptions(provider="tensorrt,device_id=0").most_seconds(1) > 3600


def test_what_is_onnx_runtimes_alone_is_refused_elsewhere():
    assert BenchOptions(provider="cuda").how(2)["provider"] == "cuda"
    assert "provider" not in BenchOptions(runtime="tensorrt").how(2)
    with pytest.raises(UsageMistake, match=r"are ONNX Runtime's, and the runtime is tensorrt"):
        BenchOptions(runtime="tensorrt", spinning=True).how(2)
