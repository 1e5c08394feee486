"""Settings that do not fit are refused by name."""

from __future__ import annotations

import pytest

from cake_edge.errors import UsageMistake
from cake_edge.qat.config import QatConfig


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"weight_bits": 1}, "weight_bits is 1; it must be 2 to 8"),
        ({"edge_bits": 16}, "edge_bits is 16"),
        ({"steps": 0}, "steps is 0; it must be positive"),
        ({"clip": -1.0}, "clip is -1.0; it must be 0 or more"),
        ({"batch": 1}, "batch is 1"),
        ({"source": "photos"}, "allowed: pool, generator, both"),
        ({"source": "generator", "warmup": 0}, "a generator that has learned nothing"),
    ],
)
def test_a_setting_that_does_not_fit_is_refused(settings, message):
    with pytest.raises(UsageMistake, match=message):
        QatConfig(**settings)
