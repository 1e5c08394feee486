"""Each rule of TensorRT has a counter-example that lint finds, and that the compiler proves."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from cake_edge.errors import ArtifactError
from exporters.lint import lint
from exporters.lint.tensorrt_operators import UNKNOWN_OPERATORS
from exporters.quantize.retarget import retarget
from exporters.tensorrt import CompileResult

Compiled = Callable[[onnx.ModelProto], CompileResult]


def network(
    parts: Any,
    *,
    activation: dict[str, Any] | None = None,
    weight: dict[str, Any] | None = None,
    integer_bias: bool = False,
    **settings: Any,
) -> onnx.ModelProto:
    """Q, DQ, a convolution with bias and Relu, as TensorRT wants them but for what is given."""
    source = parts.quantized("x", "act", **(activation or {}))
    stored = parts.weight((8, 3, 3, 3), "w", **(weight or {}))
    bias = parts.bias("b", integer=integer_bias)
    return parts.model(parts.node("Relu", parts.conv(source, stored, bias)), **settings)


def rules(model: onnx.ModelProto, target: str = "tensorrt") -> dict[str, str]:
    """Names of what lint finds, and how bad it is."""
    return {finding.rule: finding.severity for finding in lint(model, target)}


def integer_convolution(parts: Any) -> onnx.ModelProto:
    scale, zero = parts.constant("s", 0.05), parts.constant("z", 0, np.int8)
    weight = parts.constant("w", parts.random.integers(-9, 9, (8, 3, 3, 3)), np.int8)
    stored = parts.node("QuantizeLinear", "x", scale, zero)
    result = parts.node(
        "QLinearConv", stored, scale, zero, weight, scale, zero, scale, zero, pads=[1] * 4
    )
    return parts.model(parts.node("DequantizeLinear", result, scale, zero))


def integer_product(parts: Any) -> onnx.ModelProto:
    scale, zero = parts.constant("s", 0.05), parts.constant("z", 0, np.int8)
    weight = parts.constant("w", parts.random.integers(-9, 9, (16, 8)), np.int8)
    stored = parts.node("QuantizeLinear", "x", scale, zero)
    result = parts.node("QLinearMatMul", stored, scale, zero, weight, scale, zero, scale, zero)
    return parts.model(parts.node("DequantizeLinear", result, scale, zero))


def integer_only(operator: str) -> Callable[[Any], onnx.ModelProto]:
    shape = (8, 3, 3, 3) if operator == "ConvInteger" else (16, 8)

    def build(parts: Any) -> onnx.ModelProto:
        scale, zero = parts.constant("s", 0.05), parts.constant("z", 0, np.int8)
        weight = parts.constant("w", parts.random.integers(-9, 9, shape), np.int8)
        stored = parts.node("QuantizeLinear", "x", scale, zero)
        result = parts.node(operator, stored, weight, zero, zero)
        return parts.model(parts.node("Cast", result, to=1))

    return build


def dynamic_ranges(parts: Any) -> onnx.ModelProto:
    names = ["stored", "scale", "zero"]
    parts.nodes.append(onnx.helper.make_node("DynamicQuantizeLinear", ["x"], names, name="dynamic"))
    return parts.model(parts.node("DequantizeLinear", *names))


def packed_weights(parts: Any) -> onnx.ModelProto:
    weight = parts.constant("w", parts.random.integers(0, 255, (8, 1, 16)), np.uint8)
    result = parts.node(
        "MatMulNBits", "x", weight, parts.constant("s", np.full(8, 0.05)),
        domain="com.microsoft", K=32, N=8, bits=4, block_size=32,
    )  # fmt: skip
    return parts.model(result, shape=("batch", 16, 32), domains=("com.microsoft",))


def fused_convolution(parts: Any) -> onnx.ModelProto:
    weight = parts.constant("w", parts.random.standard_normal((8, 3, 3, 3)))
    result = parts.node(
        "FusedConv", "x", weight, domain="com.microsoft", activation="Relu", pads=[1] * 4
    )
    return parts.model(result, domains=("com.microsoft",))


def unknown_operator(parts: Any) -> onnx.ModelProto:
    sizes = (parts.constant("i", [4, 4], np.int64), parts.constant("k", [1, 1], np.int64))
    return parts.model(parts.node("Col2Im", "x", *sizes), shape=("batch", 3, 16), opset=18)


REJECTED: dict[str, list[Callable[[Any], onnx.ModelProto]]] = {
    "int32-bias": [lambda parts: network(parts, integer_bias=True)],
    "zero-point": [
        lambda parts: network(parts, activation={"zero": 3}),
        lambda parts: network(parts, activation={"kind": np.uint8, "zero": 128}),
        lambda parts: network(parts, weight={"zero": 1}),
    ],
    "uint8": [lambda parts: network(parts, weight={"kind": np.uint8})],
    "integer-type": [lambda parts: network(parts, activation={"kind": np.int16}, opset=21)],
    "integer-operator": [
        integer_convolution,
        integer_product,
        integer_only("ConvInteger"),
        integer_only("MatMulInteger"),
        dynamic_ranges,
    ],
    "foreign-operator": [packed_weights, fused_convolution],
    "unknown-operator": [unknown_operator],
    "scale": [
        lambda parts: network(parts, activation={"scale": 0.0}),
        lambda parts: network(parts, activation={"scale": float("nan")}),
    ],
    "dynamic-size": [lambda parts: network(parts, shape=("batch", 3, "height", "width"))],
}
CASES = [(rule, build) for rule, builds in REJECTED.items() for build in builds]


@pytest.mark.parametrize(("rule", "build"), CASES, ids=[rule for rule, _ in CASES])
def test_what_lint_rejects_the_compiler_refuses(
    parts: Any, compiled: Compiled, rule: str, build: Callable[[Any], onnx.ModelProto]
) -> None:
    model = build(parts)
    assert rules(model).get(rule) == "rejected"
    result = compiled(model)
    assert not result.ok
    assert result.stage == ("build" if rule == "dynamic-size" else "parse")
    assert result.messages


@pytest.mark.parametrize(("rule", "build"), CASES, ids=[rule for rule, _ in CASES])
def test_no_finding_depends_on_the_compiler(
    parts: Any, rule: str, build: Callable[[Any], onnx.ModelProto]
) -> None:
    assert rules(build(parts)).get(rule) == "rejected"


def test_the_mended_network_passes_both_and_runs_in_int8(parts: Any, compiled: Compiled) -> None:
    model = network(parts)
    assert rules(model) == {}
    result = compiled(model)
    assert result.ok, result.messages
    assert result.coverage is not None
    assert (result.coverage["int8"], result.coverage["float"]) == ({"Conv": 1}, {})
    assert result.engine_bytes > 0


def test_four_bits_are_for_products_and_not_for_convolutions(
    parts: Any, compiled: Compiled, four_bits: Any
) -> None:
    model = network(parts, weight={"kind": four_bits}, opset=21)
    assert rules(model) == {"int4-convolution": "rejected"}
    result = compiled(model)
    assert (result.ok, result.stage) == (False, "build")
    product = type(parts)()
    weight = product.weight((16, 8), "w", axis=1, kind=four_bits)
    result_name = product.node("MatMul", product.quantized("x", "act"), weight)
    model = product.model(result_name, shape=("batch", 16), opset=21)
    assert rules(model) == {}
    built = compiled(model)
    assert built.coverage is not None
    assert built.coverage["left_float"] == []


@pytest.mark.parametrize("stated", [True, False])
def test_unsigned_bytes_are_taken_for_signed_ones(
    parts: Any, compiled: Compiled, stated: bool
) -> None:
    """The compiler takes them and says that it clips; without a zero point it says nothing."""
    model = network(parts, activation={"kind": np.uint8})
    if not stated:
        for node in model.graph.node:
            if node.name in ("act.q", "act.dq"):
                del node.input[2]  # uint8 is what ONNX gives then
    assert rules(model) == {"uint8": "rejected"}
    result = compiled(model)
    assert result.ok
    assert any("Defaulting to INT8" in warning for warning in result.warnings) == stated


@pytest.mark.parametrize(
    ("rule", "fault"),
    [
        ("weight-axis", {"weight": {"axis": 1}}),
        ("activation-per-channel", {"activation": {"scale": [0.05, 0.04, 0.03]}}),
    ],
)
def test_what_lint_calls_float_has_a_float_kernel(
    parts: Any, compiled: Compiled, rule: str, fault: dict[str, Any]
) -> None:
    model = network(parts, **fault)
    assert rules(model) == {rule: "float"}
    result = compiled(model)
    assert result.coverage is not None
    assert result.coverage["left_float"] == ["conv"]


def test_an_operator_that_reads_float_has_a_float_kernel(parts: Any, compiled: Compiled) -> None:
    first = parts.conv(parts.quantized("x", "act"), parts.weight((8, 3, 3, 3), "w"), name="first")
    weight = parts.weight((8, 8, 3, 3), "v")
    model = parts.model(parts.conv(parts.node("Relu", first), weight, name="second"))
    found = lint(model, "tensorrt")
    assert [(each.rule, each.nodes) for each in found] == [("float-operator", ("second",))]
    result = compiled(model)
    assert result.coverage is not None
    assert result.coverage["left_float"] == ["second"]


@pytest.mark.parametrize(
    ("operator", "shape", "attributes", "axis"),
    [("MatMul", (16, 8), {}, 1), ("Gemm", (16, 8), {}, 1), ("Gemm", (8, 16), {"transB": 1}, 0)],
)
def test_the_axis_of_outputs_is_the_operators(
    parts: Any,
    compiled: Compiled,
    operator: str,
    shape: tuple[int, int],
    attributes: dict[str, int],
    axis: int,
) -> None:
    source = parts.quantized("x", "act")
    right = parts.node(operator, source, parts.weight(shape, "w", axis=axis), **attributes)
    other = parts.weight((8, 4), "v", axis=0)
    wrong = parts.node("MatMul", parts.quantized(right, "mid"), other, name="wrong")
    model = parts.model(wrong, shape=("batch", 16))
    found = [(each.rule, each.nodes) for each in lint(model, "tensorrt")]
    assert found == [("weight-axis", ("wrong",))]
    result = compiled(model)
    assert result.coverage is not None
    assert result.coverage["left_float"] == ["wrong"]


def test_a_quantized_output_before_the_activation_is_slow(parts: Any) -> None:
    source = parts.quantized("x", "act")
    inner = parts.quantized(parts.conv(source, parts.weight((8, 3, 3, 3), "w")), "inner")
    assert rules(parts.model(parts.node("Relu", inner))) == {"before-activation": "slow"}


@pytest.mark.parametrize("operator", ["Softmax", "LayerNormalization"])
def test_quantized_values_into_a_normalization_are_slow(parts: Any, operator: str) -> None:
    source = parts.quantized("x", "act")
    scale = (parts.constant("gain", np.ones(16)),) if operator == "LayerNormalization" else ()
    model = parts.model(parts.node(operator, source, *scale))
    assert rules(model) == {"quantized-normalization": "slow"}


def residual(parts: Any, *, quantize: str) -> onnx.ModelProto:
    """x -> Conv -> Relu, and on the sum of another Conv of that and itself."""
    first = parts.conv(parts.quantized("x", "act"), parts.weight((8, 3, 3, 3), "w"), name="first")
    trunk = parts.node("Relu", first)
    inner = parts.quantized(trunk, "mid")
    branch = parts.conv(inner, parts.weight((8, 8, 3, 3), "v"), name="second")
    if quantize == "sum":
        branch = parts.quantized(branch, "branch")
    identity = trunk if quantize == "nothing" else inner
    return parts.model(parts.node("Add", branch, identity))


@pytest.mark.parametrize(
    ("quantize", "found"),
    [
        ("identity", {}),
        ("nothing", {"float-residual": "slow"}),
        ("sum", {"quantized-sum": "slow"}),
    ],
)
def test_a_residual_sum_fuses_where_the_identity_alone_is_quantized(
    parts: Any, quantize: str, found: dict[str, str]
) -> None:
    assert rules(residual(parts, quantize=quantize)) == found


def test_a_newer_opset_than_documented_is_noted(parts: Any, compiled: Compiled) -> None:
    model = network(parts, opset=25)
    assert rules(model) == {"opset": "note"}
    assert compiled(model).ok  # this compiler is newer than those of JetPack


def test_a_float32_body_is_slow_where_float16_is_meant(
    parts: Any, saved: Callable[[onnx.ModelProto], Path], tmp_path: Path
) -> None:
    path, out = saved(network(parts, opset=19)), tmp_path / "half.onnx"
    (finding,) = lint(path, "tensorrt-fp16")
    assert (finding.rule, finding.severity) == ("float32-body", "slow")
    assert finding.remedy.startswith("cake-edge retarget")
    retarget(path, out, target="tensorrt-fp16")
    assert lint(out, "tensorrt-fp16") == ()


def test_a_file_too_old_for_float16_is_not_sent_to_retarget(
    parts: Any, saved: Callable[[onnx.ModelProto], Path], tmp_path: Path
) -> None:
    path = saved(network(parts, opset=18))
    (finding,) = lint(path, "tensorrt-fp16")
    assert (finding.rule, finding.severity) == ("float32-old-opset", "slow")
    assert finding.remedy.startswith("cake-edge quantize FLOAT.onnx")
    with pytest.raises(ArtifactError, match="opset 18"):
        retarget(path, tmp_path / "half.onnx", target="tensorrt-fp16")


def test_every_operator_said_to_be_unknown_is() -> None:
    tensorrt = pytest.importorskip("tensorrt_rtx", reason="tensorrt_rtx is not installed")
    log = tensorrt.Logger(tensorrt.Logger.ERROR)
    builder = tensorrt.Builder(log)
    parser = tensorrt.OnnxParser(builder.create_network(0), log)
    standard = {schema.name for schema in onnx.defs.get_all_schemas() if schema.domain == ""}
    asked = {name for name in standard if not parser.supports_operator(name)}
    assert asked & UNKNOWN_OPERATORS == UNKNOWN_OPERATORS & standard
    assert asked - UNKNOWN_OPERATORS == set()
