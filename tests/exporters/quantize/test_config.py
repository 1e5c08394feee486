from __future__ import annotations

import pytest

from cake_edge.errors import UsageMistake
from exporters.quantize import QuantizeConfig


@pytest.mark.parametrize("setting", [{"images": 7}, {"max_agreement_drop": 1.1}])
def test_a_setting_out_of_range_is_refused_by_name(setting):
    with pytest.raises(UsageMistake, match=next(iter(setting))):
        QuantizeConfig(**setting)


@pytest.mark.parametrize(
    ("drop", "wrong", "images"), [(0.02, 1, 50), (0.01, 1, 100), (0.05, 5, 100)]
)
def test_a_budget_bears_just_what_it_says(drop, wrong, images):
    config = QuantizeConfig(max_agreement_drop=drop)
    assert config.allows((images - wrong) / images)
    assert not config.allows((images - wrong - 1) / images)


def test_without_a_budget_anything_goes():
    assert QuantizeConfig().allows(0.0)
