"""Each rule of ONNX Runtime holds for what it really runs, as a profiled inference counts it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from exporters.lint import lint
from exporters.runtimes.coverage import coverage
from exporters.runtimes.ort import open_inference_session, session_options

Saved = Callable[[onnx.ModelProto], Path]
UNSIGNED = {"kind": np.uint8}


def network(
    parts: Any,
    *,
    activation: dict[str, Any] | None = None,
    weight: dict[str, Any] | None = None,
    behind: Callable[[Any, str], str] | None = None,
    output: dict[str, Any] | None = None,
    open_ended: bool = False,
    bias: float = 1.0,
    **settings: Any,
) -> onnx.ModelProto:
    """Q, DQ, a convolution, Q, DQ as x86 wants them but for what is given."""
    source = parts.quantized("x", "act", **(activation or UNSIGNED))
    stored = parts.weight((8, 3, 3, 3), "w", **(weight or {}))
    by_name = {each.name: onnx.numpy_helper.to_array(each) for each in parts.weights}
    scales = np.float32(bias) * by_name["act.s"].max() * by_name["w.s"]
    fitting = scales if scales.size == 8 else scales.max()
    result = parts.conv(source, stored, parts.bias("b", integer=True, scale=fitting))
    if behind is not None:
        result = behind(parts, result)
    if not open_ended:
        result = parts.quantized(result, "end", **(output or UNSIGNED))
    return parts.model(result, **settings)


def relu(parts: Any, source: str) -> str:
    return str(parts.node("Relu", source))


def clip(parts: Any, source: str) -> str:
    return str(parts.node("Clip", source, parts.constant("low", 0.0), parts.constant("high", 6.0)))


def silu(parts: Any, source: str) -> str:
    return str(parts.node("Mul", source, parts.node("Sigmoid", source)))


def rules(model: onnx.ModelProto, target: str = "ort-x86") -> dict[str, str]:
    return {finding.rule: finding.severity for finding in lint(model, target)}


def left_float(model: onnx.ModelProto, saved: Saved) -> bool:
    """Whether the one convolution runs in float."""
    counted = coverage(saved(model))
    assert counted["int8"].get("Conv", 0) + counted["float"].get("Conv", 0) == 1
    return bool(counted["float"])


@pytest.mark.parametrize(
    "faults",
    [
        {},
        {"behind": relu},
        {"behind": clip, "output": {"kind": np.uint8, "scale": 6 / 255}},
        {"behind": clip, "output": {"kind": np.uint8, "scale": 5 / 255}},
        {"weight": {"axis": None}},
        {"bias": 1.009},
    ],
)
def test_what_is_fused_is_not_called_float(
    parts: Any, saved: Saved, faults: dict[str, Any]
) -> None:
    model = network(parts, **faults)
    assert "float" not in rules(model).values()
    assert not left_float(model, saved)


@pytest.mark.parametrize(
    ("rule", "faults"),
    [
        ("float-output", {"open_ended": True}),
        ("float-output", {"behind": relu, "open_ended": True}),
        ("float-output", {"behind": silu}),
        ("activation-kept", {"behind": relu, "output": {"kind": np.uint8, "zero": 128}}),
        ("activation-kept", {"behind": relu, "output": {"kind": np.int8}}),
        ("activation-kept", {"behind": clip, "output": {"kind": np.uint8, "scale": 10 / 255}}),
        ("bias-scale", {"bias": 1.02}),
        ("bias-scale", {"bias": 0.95}),
        ("weight-axis", {"weight": {"axis": 1}}),
        ("activation-per-channel", {"activation": {"kind": np.uint8, "scale": [0.1, 0.2, 0.3]}}),
    ],
)
def test_what_lint_calls_float_runs_in_float(
    parts: Any, saved: Saved, rule: str, faults: dict[str, Any]
) -> None:
    model = network(parts, **faults)
    assert rules(model).get(rule) == "float"
    assert left_float(model, saved)


def test_an_output_that_two_read_keeps_the_convolution_float(parts: Any, saved: Saved) -> None:
    def shared(parts: Any, source: str) -> str:
        return str(parts.node("Sub", parts.node("Abs", source), parts.quantized(source, "other")))

    model = network(parts, behind=shared)
    assert rules(model)["float-output"] == "float"
    assert left_float(model, saved)


@pytest.mark.parametrize("operator", ["Conv", "MatMul"])
def test_weights_of_four_bits_are_computed_in_float(
    parts: Any, saved: Saved, four_bits: Any, operator: str
) -> None:
    source = parts.quantized("x", "act", **UNSIGNED)
    if operator == "Conv":
        result = parts.conv(source, parts.weight((8, 3, 3, 3), "w", kind=four_bits))
    else:
        result = parts.node(operator, source, parts.weight((16, 8), "w", axis=1, kind=four_bits))
    shape = ("batch", 3, 16, 16) if operator == "Conv" else ("batch", 16)
    model = parts.model(parts.quantized(result, "end", **UNSIGNED), shape=shape, opset=21)
    assert rules(model) == {"int4-weights": "float"}
    assert coverage(saved(model))["float"] == {operator: 1}


@pytest.mark.parametrize("bits", [4, 8])
def test_where_weights_alone_are_packed_float_ones_are_found(parts: Any, bits: int) -> None:
    left = parts.constant("w", parts.random.standard_normal((32, 32)))
    stored = parts.constant("p", parts.random.integers(0, 255, (8, 1, 4 * bits)), np.uint8)
    packed = parts.node(
        "MatMulNBits", parts.node("MatMul", "x", left), stored,
        parts.constant("s", np.full(8, 0.05)),
        domain="com.microsoft", K=32, N=8, bits=bits, block_size=32,
    )  # fmt: skip
    model = parts.model(packed, shape=("batch", 16, 32), domains=("com.microsoft",))
    found = [(each.rule, each.nodes) for each in lint(model, f"ort-w{bits}")]
    assert found == [("float-weights", ("matmul",))]


@pytest.mark.parametrize(("scale", "right"), [(5e-4, True), (6e-3, False)])
def test_a_product_takes_a_bias_of_another_scale_wrongly(
    parts: Any, saved: Saved, scale: float, right: bool
) -> None:
    source = parts.quantized("x", "act", **UNSIGNED)
    bias = parts.bias("b", integer=True, scale=scale)
    result = parts.node("Gemm", source, parts.weight((16, 8), "w", axis=None), bias)
    model = parts.model(result, shape=("batch", 16))
    assert ("rejected" in rules(model).values()) != right
    path, images = saved(model), parts.random.random((4, 16), np.float32)
    given = {
        optimise: open_inference_session(
            str(path), session_options(optimise=optimise), what="the model"
        ).run(None, {"x": images})[0]
        for optimise in (True, False)
    }
    assert np.allclose(given[True], given[False], atol=0.01) == right


@pytest.mark.parametrize("operator", ["MatMul", "Gemm"])
def test_products_may_give_float(parts: Any, saved: Saved, operator: str) -> None:
    source = parts.quantized("x", "act", **UNSIGNED)
    result = parts.node(operator, source, parts.weight((16, 8), "w", axis=1))
    model = parts.model(result, shape=("batch", 16))
    assert rules(model) == {}
    assert coverage(saved(model))["float"] == {}


def test_an_operator_that_reads_float_is_found_by_name(parts: Any, saved: Saved) -> None:
    weight = parts.constant("w", parts.random.standard_normal((8, 3, 3, 3)))
    plain = parts.conv("x", weight, name="plain")
    result = parts.conv(
        parts.quantized(plain, "act", **UNSIGNED), parts.weight((8, 8, 3, 3), "v"), name="second"
    )
    model = parts.model(parts.quantized(result, "end", **UNSIGNED))
    found = lint(model, "ort-x86")
    assert [(each.rule, each.nodes) for each in found] == [("float-operator", ("plain",))]
    assert len(coverage(saved(model))["left_float"]) == 1


@pytest.mark.parametrize(
    ("left", "right", "output", "integer"),
    [(True, True, True, True), (True, False, True, False), (True, True, False, False)],
)
def test_a_sum_with_a_float_side_is_an_island(
    parts: Any, saved: Saved, left: bool, right: bool, output: bool, integer: bool
) -> None:
    other = parts.node("Neg", "x")
    sides = [
        parts.quantized(source, name, **UNSIGNED) if quantize else source
        for source, name, quantize in (("x", "left", left), (other, "right", right))
    ]
    result = parts.node("Add", *sides)
    model = parts.model(parts.quantized(result, "end", **UNSIGNED) if output else result)
    assert rules(model) == ({} if integer else {"float-island": "slow"})
    assert ("QLinearAdd" in coverage(saved(model))["operators"]) == integer


@pytest.mark.parametrize(("zero", "integer"), [(0, True), (128, False)])
def test_a_sum_behind_a_redundant_relu_is_none(
    parts: Any, saved: Saved, zero: int, integer: bool
) -> None:
    other = parts.quantized(parts.node("Neg", "x"), "right", **UNSIGNED)
    result = parts.node("Add", parts.quantized("x", "left", **UNSIGNED), other)
    end = parts.quantized(parts.node("Relu", result), "end", kind=np.uint8, zero=zero)
    model = parts.model(end)
    assert ("float-island" not in rules(model)) == integer
    assert ("QLinearAdd" in coverage(saved(model))["operators"]) == integer


def test_adding_a_float_constant_is_no_island(parts: Any) -> None:
    source = parts.quantized("x", "act", **UNSIGNED)
    assert rules(parts.model(parts.node("Add", source, parts.constant("c", np.ones(16))))) == {}


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("ort-x86", {"int8-activations": "slow"}),
        ("ort-x86-novnni", {"int8-activations": "slow", "weight-saturation": "note"}),
        ("ort-arm", {}),
    ],
)
def test_signed_activations_are_for_arm(parts: Any, target: str, expected: dict[str, str]) -> None:
    signed = {"kind": np.int8}
    assert rules(network(parts, activation=signed, output=signed), target) == expected


def test_unsigned_activations_on_arm_are_worth_a_measurement(parts: Any) -> None:
    assert rules(network(parts), "ort-arm") == {"uint8-activations": "note"}


@pytest.mark.parametrize(("largest", "expected"), [(127, {"weight-saturation"}), (64, set())])
def test_without_vnni_weights_have_seven_bits(parts: Any, largest: int, expected: set[str]) -> None:
    assert set(rules(network(parts, weight={"largest": largest}), "ort-x86-novnni")) == expected


def test_unsigned_weights_are_slow_with_vnni_alone(parts: Any) -> None:
    model = network(parts, weight=UNSIGNED)
    assert rules(model) == {"uint8-weights": "slow"}
    assert rules(model, "ort-x86-novnni") == {}


def test_one_scale_for_all_weights_is_noted(parts: Any) -> None:
    assert rules(network(parts, weight={"axis": None})) == {"weight-per-tensor": "note"}


def test_a_scale_of_zero_is_noted(parts: Any) -> None:
    model = network(parts, output={"kind": np.uint8, "scale": 0.0})
    assert rules(model) == {"scale": "note"}


def test_dynamic_sizes_are_slow(parts: Any) -> None:
    model = network(parts, shape=("batch", 3, "height", "width"))
    assert rules(model) == {"dynamic-size": "slow"}


def test_float16_runs_in_float32(parts: Any, saved: Saved) -> None:
    half = parts.node("Cast", "x", to=int(onnx.TensorProto.FLOAT16))
    weight = parts.constant("w", parts.random.standard_normal((8, 3, 3, 3)), np.float16)
    result = parts.node("HardSigmoid", parts.conv(half, weight))
    model = parts.model(parts.node("Cast", result, to=1, name="back"))
    assert rules(model) == {"float16-body": "note", "not-quantized": "note"}
    assert coverage(saved(model))["operators"]["Cast"] == 1  # of the result, there and back


def test_what_onnx_runtime_does_not_open_is_rejected_in_its_words(parts: Any) -> None:
    model = parts.model(parts.node("Nonsense", "x", domain="com.nobody"), domains=("com.nobody",))
    (finding,) = (each for each in lint(model, "ort-x86") if each.severity == "rejected")
    assert finding.rule == "runtime-refuses"
    assert "Nonsense" in finding.nodes[0]


def test_a_newer_opset_than_onnx_runtime_knows_is_rejected(parts: Any) -> None:
    model = network(parts)
    model.opset_import[0].version = 99
    assert rules(model)["runtime-refuses"] == "rejected"
