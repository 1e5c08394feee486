"""TensorRT: explicit quantization for its builder, versions 8.6 to 11.

Its parser takes signed bytes whose zero point is 0, and biases in float; it refuses any other zero
point and int32 behind DequantizeLinear. Its builder fuses a layer into integer arithmetic where
every input of a weighted operator comes from DequantizeLinear, and picks the type of the output by
what follows; so nothing stands between a convolution and its activation, and nothing on outputs.

Where a convolution's output is summed with another branch, the other branch is quantized: the
convolution then takes the sum, and the activation behind it, into its own kernel.

Attention's products of two activations, LayerNormalization, Softmax and residual sums of a
transformer stay float: quantized residual sums cost a ViT-B all its accuracy.
"""

from __future__ import annotations

from dataclasses import replace

from exporters.quantize.dialect import Dialect

__all__ = ["TENSORRT", "TENSORRT_FP16"]

OPERATORS = ("Conv", "ConvTranspose", "Gemm", "MatMul")

TENSORRT = Dialect(
    name="tensorrt",
    runtime="tensorrt",
    processor="nvidia",
    operators=OPERATORS,
    float_outputs=OPERATORS,
    signed=True,
    symmetric=True,
    integer_bias=False,
    residuals=True,
)

# A strongly typed builder (the only kind since version 11) computes what is not quantized in the
# type that the file says.
TENSORRT_FP16 = replace(TENSORRT, name="tensorrt-fp16", body="float16")
