"""What NVIDIA's library logs becomes one line that names the node and the reason."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from exporters.tensorrt.messages import clean_errors, clean_log

NO_DRIVER = (
    "[checkMacros.cpp::catchCudaError::250] Error Code 1: Cuda Runtime (In catchCudaError at "
    "/_src/common/dispatch/checkMacros.cpp:250 (cudaError 35: CUDA driver version is insufficient "
    "for CUDA runtime version))"
)


@dataclass
class Error:
    """The part of a parser's error that is read."""

    description: str
    name: str = ""
    operator: str = ""

    def desc(self) -> str:
        return self.description

    def node_name(self) -> str:
        return self.name

    def node_operator(self) -> str:
        return self.operator


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (
            Error(
                "Invalid Node - b_DQ\nITensor::getDimensions: Error Code 4: API Usage Error (b_DQ: "
                "input has type Int32 but must have type Int8. In checkType at "
                f"/_src/optimizer/common/nodeBase.cpp:456)\n{NO_DRIVER}",
                "b_DQ",
                "DequantizeLinear",
            ),
            "DequantizeLinear 'b_DQ': input has type Int32 but must have type Int8",
        ),
        (
            Error(
                "Assertion failed: shiftIsAllZeros(zeroPoint): Non-zero zero point is not "
                "supported. Please set kENABLE_UINT8_AND_ASYMMETRIC_QUANTIZATION_DLA to enable "
                "asymmetric quantization if it is on DLA.",
                "q",
                "QuantizeLinear",
            ),
            "QuantizeLinear 'q': Non-zero zero point is not supported",
        ),
        (
            Error("false", "conv", "QLinearConv"),
            "QLinearConv 'conv': this operator is not supported",
        ),
        (
            Error("Assertion failed: status.is_success(): Found unsupported input", "w", "Conv"),
            "Conv 'w': Found unsupported input",
        ),
        (Error("Failed to parse the ONNX model."), "Failed to parse the ONNX model"),
        (Error("Assertion failed: a > b"), "a > b"),
    ],
)
def test_an_error_is_told_in_one_line(error: Error, told: str) -> None:
    assert clean_errors([error]) == [told]


def test_a_log_is_told_once_and_without_noise() -> None:
    line = "onnxOpImporters.cpp:1980: TensorRT defaults to INT8 instead. To import as UINT8, set "
    lines = [f"{line}the kIMPORT_UINT8_QUANTIZATION flag."] * 2
    assert clean_log([*lines, NO_DRIVER, ""]) == ["TensorRT defaults to INT8 instead"]
