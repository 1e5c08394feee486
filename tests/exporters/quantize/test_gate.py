from __future__ import annotations

from typing import Any

import pytest

from exporters.quantize import TARGETS, QuantizeConfig
from exporters.quantize.gate import advice
from exporters.runtimes.reasons import PRODUCT


@pytest.fixture
def dialect(monkeypatch: pytest.MonkeyPatch) -> Any:
    """One that runs on this machine, whatever that is."""
    monkeypatch.setattr("exporters.quantize.gate.runs_here", lambda dialect: True)
    return TARGETS["ort-x86-novnni"]


def test_products_of_two_activations_do_not_count_as_left_in_float(
    dialect: Any,
) -> None:
    coverage = {"left_float": ["attn", "fc", "head"], "reasons": {"attn": PRODUCT, "fc": "spoilt"}}
    said = advice(dialect, None, coverage, QuantizeConfig(latency_seconds=1))
    assert any(line.startswith("2 operators with weights run in float") for line in said)


def test_nothing_is_said_where_only_such_products_stayed(dialect: Any) -> None:
    coverage = {"left_float": ["attn"], "reasons": {"attn": PRODUCT}}
    said = advice(dialect, None, coverage, QuantizeConfig(latency_seconds=1))
    assert not any("in float" in line for line in said)
