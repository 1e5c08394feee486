"""NVIDIA's compiler builds what `quantize --target tensorrt` writes, whatever the architecture.

A sample in every run of the tests; all of them, each at its own input size, with `-m zoo`.
"""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest

from benchmarks.tensorrt_zoo import FAMILIES, NAMES, measure

SAMPLE = (
    *("test_resnet", "test_efficientnet", "test_nfnet", "test_byobnet", "test_convnext"),
    *("test_vit", "test_coatnet", "tinynet_e"),
)

pytestmark = [
    pytest.mark.zoo,
    pytest.mark.skipif(
        importlib.util.find_spec("tensorrt_rtx") is None,
        reason="tensorrt_rtx is not installed: pip install tensorrt-rtx-cu13",
    ),
]


@pytest.mark.parametrize("architecture", NAMES)
def test_the_compiler_builds_what_is_quantized_for_it(
    architecture: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    if architecture not in SAMPLE and request.config.getoption("markexpr") != "zoo":
        pytest.skip("one of the many: make test-zoo")
    row = measure(architecture, tmp_path, count=8)
    assert row["failed"] is None
    assert row["compile"]["ok"], row["compile"]["messages"]
    assert [each for each in row["lint"] if each["severity"] == "rejected"] == []
    # What is between Q and DQ in the file has integer kernels in the engine. Not all of it has
    # where the compiler prefers another fusion: of a CaiT's products between heads, every second.
    quantized, coverage = row["weighted"]["quantized"], row["compile"]["coverage"]
    asked, integer = sum(quantized.values()), sum(coverage["int8"].values())
    assert asked > 0
    assert integer >= (asked if architecture in SAMPLE else 0.8 * asked)


def test_the_sample_is_of_many_kinds() -> None:
    assert len(SAMPLE) == 8
    assert len({NAMES[architecture] for architecture in SAMPLE}) == 8
    assert len(NAMES) >= 40
    assert len(FAMILIES) >= 30


def test_the_recorded_table_is_of_these_architectures(root: Path) -> None:
    place = root / "benchmarks/results/tensorrt_zoo.json"
    if not place.is_file():
        pytest.skip("not recorded yet: python -m benchmarks.tensorrt_zoo")
    recorded = json.loads(place.read_text(encoding="utf-8"))
    assert {row["architecture"] for row in recorded["rows"]} <= set(NAMES)
    assert recorded["summary"]["built"] >= 40
    assert recorded["summary"]["families_built"] >= 30
    assert recorded["summary"]["lint_rejected"] == []
