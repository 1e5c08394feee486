"""Why an operator runs in float, on graphs of one convolution or product."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

from exporters.runtimes import reasons
from exporters.runtimes.reasons import Written

SCALES = {"scale": np.array(0.1, np.float32), "zero": np.array(0, np.uint8)}
ARGUMENTS = ["scale", "zero"]
WEIGHTED = ("Conv", "MatMul")


def q(source: str, out: str) -> list[onnx.NodeProto]:
    """A tensor through Q and DQ."""
    return [
        helper.make_node("QuantizeLinear", [source, *ARGUMENTS], [f"{out}_q"]),
        helper.make_node("DequantizeLinear", [f"{out}_q", *ARGUMENTS], [out]),
    ]


def dq_weights(stored: str = "bytes") -> onnx.NodeProto:
    return helper.make_node("DequantizeLinear", [stored, *ARGUMENTS], ["weights"])


def conv(data: str, weights: str, out: str = "features") -> onnx.NodeProto:
    return helper.make_node("Conv", [data, weights], [out], name="conv")


TAIL = [
    helper.make_node("GlobalAveragePool", ["last"], ["mean"]),
    helper.make_node("Flatten", ["mean"], ["logits"]),
]
RELU = helper.make_node("Relu", ["features"], ["last"])
PASSED_ON = helper.make_node("Identity", ["features"], ["last"])

INTEGER = [*q("input", "x"), dq_weights(), conv("x", "weights")]

CASES = {
    reasons.NOT_WRITTEN: [conv("input", "floats"), RELU],
    reasons.WEIGHTS_ALONE: [dq_weights(), conv("input", "weights"), PASSED_ON],
    reasons.OUTPUT: [*INTEGER, RELU],
    reasons.NOT_FUSED: [*INTEGER, *q("features", "last")],
}


@pytest.fixture
def load(write_model: Callable[..., Path]) -> Callable[..., onnx.ModelProto]:
    def build(nodes: list[onnx.NodeProto]) -> onnx.ModelProto:
        weights = {
            **SCALES,
            "bytes": np.ones((2, 2, 1, 1), np.uint8),
            "floats": np.ones((2, 2, 1, 1), np.float32),
        }
        return onnx.load(write_model([*nodes, *TAIL], weights=weights))

    return build


@pytest.mark.parametrize("reason", CASES)
def test_each_reason_is_told_from_the_others(
    load: Callable[..., onnx.ModelProto], reason: str
) -> None:
    written = Written(load(CASES[reason]), WEIGHTED)
    assert written.reasons(["conv"]) == {"conv": reason}


def test_weights_of_four_bits_are_named_as_the_reason(load: Callable[..., onnx.ModelProto]) -> None:
    model = load([*q("input", "x"), dq_weights("few"), conv("x", "weights"), RELU])
    few = onnx.helper.make_tensor("few", onnx.TensorProto.INT4, (2, 2, 1, 1), [1] * 4)
    model.graph.initializer.append(few)
    assert Written(model, WEIGHTED).reasons(["conv"]) == {"conv": reasons.FOUR_BITS}


@pytest.mark.parametrize("quantized", [False, True])
def test_a_product_of_two_activations_is_none_of_weights(
    load: Callable[..., onnx.ModelProto], quantized: bool
) -> None:
    before = q("input", "x") if quantized else []
    names = ["x", "input"] if quantized else ["input", "input"]
    product = helper.make_node("MatMul", names, ["last"], name="product")
    written = Written(load([*before, product]), WEIGHTED)
    assert written.reasons(["product"]) == {"product": reasons.PRODUCT}


def test_what_the_quantizer_kept_back_for_accuracy_is_said_first(
    load: Callable[..., onnx.ModelProto],
) -> None:
    written = Written(load(CASES[reasons.NOT_WRITTEN]), WEIGHTED)
    assert written.reasons(["conv"], left_float=["conv"]) == {"conv": reasons.FOR_ACCURACY}


@pytest.mark.parametrize(
    "ran_as",
    [
        *("conv", "conv_token_7", "features_nchwc", "last_nchwc", "last_nchwc_token_3"),
        *("conv/MatMulScaleFusion/", "conv/ConvActivationFusion"),
    ],
)
def test_a_name_that_the_runtime_made_leads_back_to_the_node(
    load: Callable[..., onnx.ModelProto], ran_as: str
) -> None:
    assert Written(load(CASES[reasons.NOT_WRITTEN]), WEIGHTED).name(ran_as) == "conv"


def test_a_name_of_which_nothing_is_known_stays_and_has_no_reason(
    load: Callable[..., onnx.ModelProto],
) -> None:
    written = Written(load(CASES[reasons.NOT_WRITTEN]), WEIGHTED)
    assert written.name("fused_42") == "fused_42"
    assert written.reasons(["fused_42"]) == {}
