from __future__ import annotations

import pytest

from cake_edge.errors import UsageMistake
from exporters.quantize.reconstruct import ReconstructConfig


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
