from __future__ import annotations

import dataclasses
from typing import Any

import click
import pytest

from cake_edge.cli.quantize_options import (
    FLAGS,
    MEANINGS,
    PRIOR_NAMES,
    quantize_config,
    quantize_options,
)
from cake_edge.priors import PRIORS
from exporters.quantize import TARGETS, QuantizeConfig


def parsed(*words: str) -> dict[str, Any]:
    """What a command with these options is called with."""
    found: dict[str, Any] = {}

    @click.command()
    @quantize_options
    def command(**arguments: Any) -> None:
        found.update(arguments)

    command.main(list(words), standalone_mode=False)
    return found


def config(*words: str) -> QuantizeConfig:
    given = parsed(*words)
    prior, settings = given.pop("prior"), given.pop("settings")
    return quantize_config(given, settings, prior=prior)


def test_nothing_asked_for_is_the_default_but_for_a_slower_file() -> None:
    assert config() == QuantizeConfig(when_slower="refuse")
    assert config("--keep-slower") == QuantizeConfig(when_slower="keep")
    assert config("--set", "when_slower=keep") == QuantizeConfig(when_slower="keep")


@pytest.mark.parametrize(
    ("words", "changes"),
    [
        (("--effort", "full"), {"effort": "full"}),
        (("--weight-bits", "4"), {"weight_bits": 4}),
        (("--max-agreement-drop", "0.02"), {"max_agreement_drop": 0.02}),
        (("--max-agreement-drop", "2%"), {"max_agreement_drop": 0.02}),
        (("--max-agreement-drop", "0"), {"max_agreement_drop": 0.0}),
        (("--target-size", "2MB"), {"target_bytes": 2_000_000}),
        (("--target-size", "800 kB"), {"target_bytes": 800_000}),
        (("--target-size", "1.5MiB"), {"target_bytes": 1_572_864}),
        (("--target-size", "123456"), {"target_bytes": 123_456}),
        (("--allow-noise",), {"allow_noise": True}),
        (("--prior", "gaussian"), {"allow_noise": True}),
        (("--prior", "leaves"), {}),
        (("--set", "images=64", "--effort", "full"), {"images": 64, "effort": "full"}),
    ],
)
def test_each_flag_is_a_setting(words: tuple[str, ...], changes: dict[str, Any]) -> None:
    assert config(*words) == QuantizeConfig(when_slower="refuse", **changes)


@pytest.mark.parametrize("words", ["-1%", "1.01", "some", "nan", "%"])
def test_what_is_no_share_is_refused(words: str) -> None:
    with pytest.raises(click.BadParameter, match="is not a share"):
        parsed("--max-agreement-drop", words)


@pytest.mark.parametrize("words", ["", "MB", "-2MB", "2XB", "2e6", "1.2.3kB"])
def test_what_is_no_size_is_refused(words: str) -> None:
    with pytest.raises(click.BadParameter, match="is not a size"):
        parsed("--target-size", words)


def test_a_flag_and_the_same_setting_are_not_both_taken() -> None:
    with pytest.raises(click.UsageError, match="give --weight-bits or --set weight_bits"):
        config("--weight-bits", "8", "--set", "weight_bits=4")


def test_the_names_are_those_of_what_they_stand_for() -> None:
    assert tuple(PRIORS) == PRIOR_NAMES
    assert set(FLAGS) <= {field.name for field in dataclasses.fields(QuantizeConfig)}
    assert set(MEANINGS) == set(TARGETS)
