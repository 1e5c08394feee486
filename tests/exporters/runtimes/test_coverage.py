from __future__ import annotations

import sys

import numpy as np
import onnx
import pytest
from onnx import helper

from cake_edge.errors import ArtifactError, RuntimeUnavailable
from exporters.runtimes.coverage import coverage, written_coverage


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
    assert found["reasons"] == {"head": "the file does not quantize it"}
    kept = coverage(path, left_float=["head"])["reasons"]
    assert kept == {"head": "left in float for accuracy"}
    read = written_coverage(path)
    assert (read["profiled"], read["left_float"]) == (False, ["head"])
    assert read["reasons"] == found["reasons"]
    assert written_coverage(path, left_float=["head"])["reasons"] == kept


def test_operators_that_the_runtime_renames_are_named_as_in_the_file(float_file):
    written = {node.name for node in onnx.load(float_file).graph.node}
    found = coverage(float_file)
    # ONNX Runtime fuses convolutions with what follows, and names them after their output.
    assert set(found["left_float"]) <= written
    assert set(found["reasons"].values()) == {"the file does not quantize it"}


def test_a_device_without_onnx_counts_and_gives_no_reasons(float_file, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    found = coverage(float_file)
    assert found["float"]["Gemm"] == 1
    assert found["reasons"] == {}
    with pytest.raises(RuntimeUnavailable, match="pip install onnx"):
        written_coverage(float_file)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(ArtifactError, match="does not exist"):
        coverage(tmp_path / "none.onnx")
