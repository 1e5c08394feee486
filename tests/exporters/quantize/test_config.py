from __future__ import annotations

import pytest

from cake_edge.errors import UsageMistake
from exporters.quantize import QuantizeConfig


@pytest.mark.parametrize("setting", [{"images": 7}, {"max_agreement_drop": 1.1}])
def test_a_setting_out_of_range_is_refused_by_name(setting):
    with pytest.raises(UsageMistake, match=next(iter(setting))):
        QuantizeConfig(**setting)
