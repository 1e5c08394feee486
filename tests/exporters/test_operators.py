from __future__ import annotations

import pytest

from exporters.operators import is_integer_operator


@pytest.mark.parametrize(
    "name", ["QLinearConv", "QGemm", "ConvInteger", "MatMulIntegerToFloat", "DynamicQuantizeLinear"]
)
def test_operators_of_integers_are_known(name):
    assert is_integer_operator(name)


@pytest.mark.parametrize("name", ["Conv", "QuantizeLinear", "DequantizeLinear", "MatMulNBits"])
def test_others_are_not(name):
    assert not is_integer_operator(name)
