from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cake_edge.errors import GateFailed
from exporters.parity import compare
from exporters.quantize import TARGETS, QuantizeConfig
from exporters.quantize.gate import advice, hold
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


@pytest.mark.parametrize(
    ("head", "said"),
    [
        ("softmax", "INT8 names another class than the float model on 50.0% of 2 images"),
        ("sigmoid", "INT8 decides otherwise than the float model on 25.0% of all labels of 2 im"),
    ],
)
def test_a_budget_is_for_what_the_model_decides(head: str, said: str) -> None:
    wanted = np.array([[2.0, 1.0], [-1.0, 1.0]])
    given = np.array([[1.0, 2.0], [-1.0, -0.5]])
    parity = compare(wanted, given, head=head)
    hold(parity, None, QuantizeConfig(max_agreement_drop=0.5), head=head)
    with pytest.raises(GateFailed, match=said):
        hold(parity, None, QuantizeConfig(max_agreement_drop=0.2), head=head)
