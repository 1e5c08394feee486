"""Options of `cake-edge bench` as a `BenchOptions`."""

from __future__ import annotations

from typing import Any

import click
import pytest
from click.testing import CliRunner

from cake_edge.cli.bench_options import bench_options
from cake_edge.errors import UsageMistake
from exporters.remote import BenchOptions


def chosen(*words: str) -> BenchOptions:
    """What a command with these options is given."""
    seen: list[Any] = []

    @click.command()
    @bench_options
    @click.option("--own", default="kept")
    def command(options: BenchOptions, own: str) -> None:
        assert own == "kept"
        seen.append(options)

    result = CliRunner().invoke(command, words, standalone_mode=False)
    if result.exception is not None:
        raise result.exception
    return seen[0]


def test_without_words_they_are_the_defaults() -> None:
    assert chosen() == BenchOptions()


@pytest.mark.parametrize(
    ("words", "changed"),
    [
        (("--runtime", "tensorrt"), {"runtime": "tensorrt"}),
        (("--provider", "cuda,device_id=1"), {"provider": "cuda,device_id=1"}),
        (("--allow-fallback",), {"allow_fallback": True}),
        (("--device-input",), {"device_input": True}),
        (("--spinning", "--affinity", "2"), {"spinning": True, "affinity": "2"}),
        (("--threads", "1,4"), {"threads": (1, 4)}),
        (("--batch", "8"), {"batch": (8,)}),
        (("--sweep-batch", "--max-batch", "16"), {"sweep_batch": True, "max_batch": 16}),
        (("--seconds", "0.5"), {"seconds": 0.5}),
        (("--no-interleave",), {"interleave": False}),
        (("--cold", "3"), {"cold_runs": 3}),
        (("--energy", "0"), {"energy_seconds": 0}),
        (("--force",), {"force": True}),
        (("--seed", "5"), {"seed": 5}),
        (("--timeout", "7"), {"timeout_seconds": 7}),
        (("--memory-limit", "512"), {"memory_limit_mib": 512}),
    ],
)
def test_each_option_changes_its_field(words: tuple[str, ...], changed: dict[str, Any]) -> None:
    assert chosen(*words) == BenchOptions(**changed)


@pytest.mark.parametrize("text", ["", "x", "1,", "0", "-1", "1.5", "2,2"])
def test_what_is_no_number_is_refused(text: str) -> None:
    with pytest.raises(click.BadParameter):
        chosen("--threads", text)


def test_a_provider_is_read_before_anything_is_started() -> None:
    with pytest.raises(UsageMistake, match=r"no provider .cudda.*cuda"):
        chosen("--provider", "cudda")
