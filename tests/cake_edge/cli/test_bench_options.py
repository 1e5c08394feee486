"""Options of `cake-edge bench` as a `BenchOptions`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
from click.testing import CliRunner

from cake_edge.cli import bench_options as options_of_bench
from cake_edge.cli.bench_options import bench_options, find_input
from cake_edge.errors import UsageMistake
from exporters.latency.inputs import INPUTS
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
        (("--input", "zeros"), {"input": "zeros"}),
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


def test_the_words_of_the_input_are_those_of_the_measurement() -> None:
    assert tuple(INPUTS) == options_of_bench.INPUTS
    assert find_input("zeros") == ("zeros", None)


def test_any_other_input_is_a_file_or_a_mistake(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", images=np.zeros((2, 3, 4, 5), np.float32))
    name, brought = find_input(str(tmp_path / "x.npz"))
    assert name.startswith("x.npz (sha256 ")
    assert brought is not None
    assert brought(1, None).shape == (1, 3, 4, 5)
    with pytest.raises(UsageMistake, match=r"no input .zeroes., did you mean zeros|zeroes"):
        find_input("zeroes")
