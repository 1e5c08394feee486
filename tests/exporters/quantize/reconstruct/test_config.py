from __future__ import annotations

import json

import pytest

from cake_edge.errors import UsageMistake
from exporters.quantize.reconstruct import ReconstructConfig, RoundingRecord


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"positions": 0}, "positions is 0"),
        ({"memory": 0}, "memory is 0 bytes"),
        ({"damping": 0.0}, r"damping is 0\.0"),
        ({"damping": 1.5}, r"damping is 1\.5"),
    ],
)
def test_settings_out_of_range_are_refused(wrong, message):
    with pytest.raises(UsageMistake, match=message):
        ReconstructConfig(**wrong)


def test_a_record_is_plain_values():
    record = RoundingRecord(
        name="conv",
        op="Conv",
        weights=9,
        bits=4,
        nearest=0.5,
        found=0.25,
        reconstructed=True,
        reason=None,
    )
    assert json.loads(json.dumps(record.to_dict()))["found"] == 0.25
