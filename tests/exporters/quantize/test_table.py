from __future__ import annotations

import json

import pytest

from cake_edge.errors import ArtifactError
from exporters.quantize.ranges import Range, TensorRanges
from exporters.quantize.table import table_from_dict, table_to_dict

TABLE = {
    "b": TensorRanges(asymmetric=Range(-1.5, 2.0, "minmax"), symmetric=Range(-2.0, 2.0, "shrunk")),
    "a": TensorRanges(asymmetric=Range(0.0, 6.0, "quantile"), symmetric=Range(-6.0, 6.0, "minmax")),
}


def test_it_comes_back_from_json_as_it_was():
    assert table_from_dict(json.loads(json.dumps(table_to_dict(TABLE)))) == TABLE


@pytest.mark.parametrize(
    "damage",
    [
        {"a": {}},
        {"a": {"asymmetric": [0, 1], "symmetric": [-1, 1, "minmax"]}},
        {"a": {"asymmetric": [2, 1, "minmax"], "symmetric": [-1, 1, "minmax"]}},
        {"a": {"asymmetric": [0, float("inf"), "minmax"], "symmetric": [-1, 1, "minmax"]}},
        {"a": {"asymmetric": [0, float("nan"), "minmax"], "symmetric": [-1, 1, "minmax"]}},
        {"a": None},
        ["a"],
    ],
)
def test_a_damaged_table_is_refused_with_what_to_do(damage):
    with pytest.raises(ArtifactError, match="quantize the float model again"):
        table_from_dict(damage)
