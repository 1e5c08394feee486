"""An engine's layers are read alike from both forms of the inspector and from a build's log."""

from __future__ import annotations

import json
from typing import Any

import pytest

from cake_edge.errors import ArtifactError
from exporters.tensorrt.layers import layers_from_inspector, layers_from_log, summarise_layers
from exporters.tensorrt.precision import coverage_from_layers

BEFORE_11 = {
    "Layers": [
        {
            "Name": "Reformatting CopyNode for Input Tensor 0 to conv1",
            "LayerType": "Reformat",
            "Inputs": [{"Name": "x", "Format/Datatype": "Row major linear FP32"}],
            "Outputs": [{"Name": "y", "Format/Datatype": "Row major Int8 format"}],
            "Metadata": "",
        },
        {
            "Name": "conv1 + relu1",
            "LayerType": "CaskConvolution",
            "Inputs": [
                {
                    "Name": "y",
                    "Format/Datatype": "Thirty-two wide channel vectorized row major Int8 format",
                }
            ],
            "Outputs": [{"Name": "z", "Format/Datatype": "Channel major FP16 format"}],
            "Weights": {"Type": "Int8", "Count": 432},
            "Metadata": "[ONNX Layer: conv1]\x1e[ONNX Layer: relu1]",
        },
        {
            "Name": "fc",
            "LayerType": "gemm",
            "Inputs": [{"Name": "z", "Format/Datatype": "Channel major FP16 format"}],
            "Outputs": [{"Name": "o", "Format/Datatype": "N/A due to dynamic shapes"}],
            "Weights": {"Type": "Half", "Count": 10},
            "Metadata": "[ONNX Layer: fc]",
        },
        {
            "Name": "{ForeignNode[a...b]}",
            "LayerType": "DLA",
            "Inputs": [{"Name": "o", "Format/Datatype": "Half"}],
            "Outputs": [],
        },
    ],
    "Bindings": ["x", "o"],
}


def as_in_11(old: dict[str, Any]) -> dict[str, Any]:
    """The same in the words of 11: format and type apart, and I/O tensors."""
    words = {"FP32": "FP32", "Int8": "INT8", "FP16": "FP16", "Half": "FP16"}

    def tensor(told: dict[str, str]) -> dict[str, str]:
        kind = next((v for k, v in words.items() if k in told["Format/Datatype"]), "UNKNOWN")
        return {"Name": told["Name"], "Format": "LINEAR", "DataType": kind}

    layers = [
        {**layer, "Inputs": [*map(tensor, layer["Inputs"])],
         "Outputs": [*map(tensor, layer["Outputs"])]}
        for layer in old["Layers"]
    ]  # fmt: skip
    return {"Layers": layers, "I/O Tensors": [{"Name": "x"}, {"Name": "o"}]}


@pytest.mark.parametrize("told", [BEFORE_11, as_in_11(BEFORE_11)], ids=["10", "11"])
def test_both_forms_of_the_inspector_count_alike(told: dict[str, Any]) -> None:
    layers = layers_from_inspector(json.dumps(told))
    assert summarise_layers(layers) == {
        "layers": 4,
        "precisions": {"fp16": 2, "int8": 1},
        "reformats": 1,
        "dla": 1,
    }
    assert layers[1].nodes == ("conv1", "relu1")
    assert layers[1].given == ("fp16",)
    assert layers[2].given == ("other",)
    found = coverage_from_layers(layers, {"conv1": "Conv", "fc": "MatMul"})
    assert (found["int8"], found["left_float"]) == ({"Conv": 1}, ["fc"])


def test_an_engine_without_details_tells_names_alone() -> None:
    layers = layers_from_inspector(json.dumps({"Layers": ["conv1 + relu1", "fc"], "Bindings": []}))
    assert [layer.name for layer in layers] == ["conv1 + relu1", "fc"]
    assert summarise_layers(layers) == {"layers": 2, "precisions": {}, "reformats": 0, "dla": 0}


@pytest.mark.parametrize(
    ("words", "precision"),
    [
        ("Int8", "int8"), ("FP8", "fp8"), ("Int4", "int4"), ("FP4E2M1", "fp4"), ("BF16", "bf16"),
        ("BFloat16", "bf16"), ("Half", "fp16"), ("Float", "fp32"), ("Int64", "other"),
        ("Bool", "other"),
    ],
)  # fmt: skip
def test_every_word_for_a_type_is_known(words: str, precision: str) -> None:
    told = {"Layers": [{"Name": "a", "Inputs": [{"DataType": words}]}]}
    assert layers_from_inspector(json.dumps(told))[0].precision == precision


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"Layers": [3]}', '{"Layers": [{"x": 1}]}'])
def test_what_is_no_layer_information_is_refused(text: str) -> None:
    with pytest.raises(ArtifactError, match="not the layer information of an engine"):
        layers_from_inspector(text)


def test_a_log_tells_the_same() -> None:
    line = (
        "Name: {name}, LayerType: {kind}, Inputs: [ {{ Name: a, Datatype: {kind_in}, Format: "
        "(NHWC) Channel major format }}], Constants: [], Outputs: [ {{ Name: b, Datatype: Half, "
        "Format: (NHWC) }}], TacticName: t, StreamId: 0, Metadata: [ONNX Layer: n1][ONNX Layer: n2]"
    )
    log = "Layers:\n" + "\n".join(
        (
            line.format(name="__myl_Move_myl0_1", kind="kgen", kind_in="Float"),
            line.format(name="__myl_MoveMean_myl0_2", kind="kgen", kind_in="Float"),
            line.format(name="conv", kind="correlation", kind_in="Half"),
            "I/O Tensors:",
        )
    )
    layers = layers_from_log(["before", log])
    assert layers is not None
    assert layers[2].nodes == ("n1", "n2")
    assert layers[2].given == ("fp16",)
    assert summarise_layers(layers) == {
        "layers": 3,
        "precisions": {"fp16": 1, "fp32": 1},
        "reformats": 1,
        "dla": 0,
    }
