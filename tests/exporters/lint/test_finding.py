"""A rule holds for targets by name, or for a family by its beginning."""

from __future__ import annotations

import pytest

from exporters.lint.finding import Rule


@pytest.mark.parametrize(
    ("targets", "holds"),
    [
        (("",), {"ort-x86", "ort-x86-novnni", "ort-arm", "tensorrt", "tensorrt-fp16"}),
        (("ort-",), {"ort-x86", "ort-x86-novnni", "ort-arm"}),
        (("ort-x86",), {"ort-x86"}),
        (("tensorrt", "tensorrt-"), {"tensorrt", "tensorrt-fp16"}),
    ],
)
def test_targets_are_named_or_begun(targets: tuple[str, ...], holds: set[str]) -> None:
    rule = Rule(
        name="rule", severity="note", targets=targets, find=lambda graph: [], reason="", remedy=""
    )
    every = ("ort-x86", "ort-x86-novnni", "ort-arm", "tensorrt", "tensorrt-fp16")
    assert {target for target in every if rule.holds_for(target)} == holds
