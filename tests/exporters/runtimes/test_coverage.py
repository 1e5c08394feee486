from __future__ import annotations

import numpy as np
import pytest
from onnx import helper

from cake_edge.errors import ArtifactError
from exporters.runtimes.coverage import coverage


def test_a_float_file_runs_nothing_in_int8(float_file):
    found = coverage(float_file)
    assert found["int8"] == {}
    assert found["float"]["Gemm"] == 1
    assert found["float"]["Conv"] > 10
    assert found["int8_share"] == 0
    assert len(found["left_float"]) == sum(found["float"].values())


def test_a_file_without_weights_has_a_share_of_none(pooled):
    found = coverage(pooled)
    assert (found["int8"], found["float"], found["int8_share"]) == ({}, {}, 0)
    assert found["operators"]["GlobalAveragePool"] == 1


def test_what_asks_for_int8_but_is_not_fused_counts_as_float(write_model):
    scale, zero = np.float32(0.1), np.uint8(0)
    weights = {
        "scale": np.array(scale),
        "zero": np.array(zero),
        "weight": np.ones((2, 18), np.float32),
    }
    path = write_model(
        [
            helper.make_node("QuantizeLinear", ["input", "scale", "zero"], ["q"]),
            helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["dq"]),
            helper.make_node("Flatten", ["dq"], ["flat"]),
            # Its weight is float, so there is no integer product to make.
            helper.make_node("Gemm", ["flat", "weight"], ["logits"], name="head", transB=1),
        ],
        weights=weights,
    )
    found = coverage(path)
    assert found["float"] == {"Gemm": 1}
    assert found["int8_share"] == 0
    assert found["left_float"] == ["head"]


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(ArtifactError, match="does not exist"):
        coverage(tmp_path / "none.onnx")
