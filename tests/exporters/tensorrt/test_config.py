"""Settings that make no sense are refused before any work."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cake_edge.errors import UsageMistake
from exporters.tensorrt import EngineConfig


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"precision": "int8"}, "precision is 'int8'; allowed: as-written, fp16"),
        ({"batches": (2, 1, 8)}, "at least 1, and in order"),
        ({"sizes": ((8, 8), (8, 8), (8, 4))}, r"\(height, width\) must be at least 1, and in ord"),
        ({"workspace_bytes": 0}, "workspace_bytes is 0; it must be at least 1"),
        ({"optimisation_level": 6}, "optimisation_level is 6; allowed: 0 to 5"),
        ({"dla_core": -1}, "cores are counted from 0"),
        ({"hardware_compatibility": "hopper+"}, r"allowed: ampere\+, same-compute-capability"),
        ({"compute_capability": "87"}, "such as 8.7 for Jetson Orin"),
    ],
)
def test_a_mistake_is_named(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageMistake, match=message):
        EngineConfig(**settings)


def test_settings_are_plain_json_without_places() -> None:
    config = EngineConfig(timing_cache=Path("here"), sizes=((8, 8), (8, 8), (8, 16)))
    found = json.loads(json.dumps(config.to_dict()))
    assert found["timing_cache"] is True
    assert found["sizes"] == [[8, 8], [8, 8], [8, 16]]
    assert found["batches"] == [1, 1, 8]
