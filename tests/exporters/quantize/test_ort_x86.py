from __future__ import annotations

import numpy as np
import pytest

from cake_edge.networks import build_network
from cake_edge.spec import ImageSpec
from exporters.artifact import ModelCard
from exporters.onnx_export import export_onnx
from exporters.quantize import QuantizeConfig, quantize
from exporters.runtimes.reasons import PRODUCT


@pytest.fixture
def operators(tmp_path):
    """What runs of a network of this architecture once it is quantized, and how well."""

    def made(architecture, size):
        spec = ImageSpec(
            channels=3, height=size, width=size, mean=(0.5,) * 3, std=(0.5,) * 3, classes=5
        )
        card = ModelCard(architecture=architecture, spec=spec, role="student", parent="0" * 64)
        network = build_network(architecture, channels=3, classes=5)
        export_onnx(network, tmp_path / "float.onnx", card)
        random = np.random.default_rng(0)
        images = random.standard_normal((16, 3, size, size)).astype(np.float32)
        return quantize(
            tmp_path / "float.onnx",
            tmp_path / "int8.onnx",
            lambda: iter([images]),
            config=QuantizeConfig(allow_noise=True, latency_seconds=0),
        )

    return made


def test_a_network_with_silu_and_squeeze_and_excite_is_integer_from_end_to_end(operators):
    report = operators("test_efficientnet", 32)
    ran = report.coverage["operators"]
    assert report.coverage["int8_share"] == 1
    assert ran["QuantizeLinear"] == 1
    assert {"QLinearSigmoid", "QLinearMul", "QLinearGlobalAveragePool"} <= set(ran)
    assert not {"Sigmoid", "Mul", "Add", "DequantizeLinear"} & set(ran)


def test_a_transformer_keeps_residual_sums_norms_and_attention_in_float(operators):
    report = operators("test_vit", 160)
    ran = report.coverage["operators"]
    assert set(report.coverage["reasons"].values()) == {PRODUCT}
    assert report.coverage["int8"] == {"Conv": 1, "Gemm": 4 * 6 + 1}
    assert "QLinearSoftmax" not in ran
    assert ran["LayerNormalization"] == 13
    assert "QLinearAdd" not in ran
    assert report.parity.sqnr_db > 25
