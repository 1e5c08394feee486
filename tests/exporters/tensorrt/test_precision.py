"""The list of layers at the end of a build's log says which operators are integer."""

from __future__ import annotations

from exporters.tensorrt.layers import layers_from_log
from exporters.tensorrt.precision import coverage_from_layers


def layer(kind: str, types: tuple[str, ...], constants: tuple[str, ...], *nodes: str) -> str:
    def tensors(given: tuple[str, ...]) -> str:
        return ", ".join(
            f"{{ Name: t, Dimensions: [1,8], Datatype: {each}, Format: (Linear) }}"
            for each in given
        )

    stands_for = "\x1f".join(f"[ONNX Layer: {node}]" for node in nodes)
    return (
        f"Name: layer, LayerType: {kind}, Inputs: [ {tensors(types)}], Constants: "
        f"[ {tensors(constants)}], Outputs: [ {tensors(('Int8', 'Int8'))}], TacticName: , "
        f"StreamId: 0, Metadata: {stands_for}"
    )


WEIGHTED = {"conv": "Conv", "product": "MatMul", "attention": "MatMul", "packed": "MatMul"}
LOG = "Layers:\n" + "\n".join(
    (
        layer("shape_call", (), ()),
        layer("kgen", ("Float",), ("Float",), "quantize", "conv"),
        layer("correlation", ("Int8",), ("Int8", "Float"), "conv", "quantize"),
        layer("gemm", ("Half",), ("Half",), "product"),
        layer("kgen", ("Int8", "Int8", "Int8"), (), "attention", "softmax"),
        layer("runtime_fusion", ("Int8",), ("Float", "Int8"), "packed"),
        "",
        "I/O Tensors:",
    )
)


def test_what_multiplies_two_int8_tensors_is_integer() -> None:
    layers = layers_from_log(["Graph construction", LOG])
    assert layers is not None
    assert coverage_from_layers(layers, WEIGHTED) == {
        "int8": {"Conv": 1, "MatMul": 1},
        "float": {"MatMul": 2},
        "int8_share": 0.5,
        "left_float": ["product", "packed"],
    }


def test_a_log_without_layers_tells_nothing() -> None:
    assert layers_from_log(["Graph construction"]) is None


def test_an_engine_without_products_has_no_share() -> None:
    assert coverage_from_layers([], {})["int8_share"] == 0.0
