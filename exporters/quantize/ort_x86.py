"""ONNX Runtime on x86 processors with VNNI (AVX512-VNNI, AVX-VNNI).

A convolution is fused into integer arithmetic only if its inputs come from DequantizeLinear and
its output goes straight into QuantizeLinear. uint8 times int8 is the one product its fast kernels
have; with a zero point at the bottom of the range the quantized output is clamped by itself, and
ReLU and ReLU6 vanish from the graph.

Which operators, measured at one thread and batch 1:

* Add and local average pooling are left out: between quantized neighbours ONNX Runtime fuses them
  too, and next to LayerNormalization, where residual sums reach far, they stay float. Quantizing
  them costs a vision transformer 22 dB.
* Sigmoid and the Mul behind it are in: SiLU and squeeze-and-excite would cut the network into
  float islands, a quarter slower.
* GlobalAveragePool is in, as what would follow it in float costs a tiny network five operators of
  thirty-three; behind residual sums that LayerNormalization follows, it is out again.
* MaxPool and the operators that only move values are in, as they then keep the scale of their
  input and run on bytes.
* Products of two activations are left out: they are a twelfth of a ViT-S's arithmetic, and the
  Softmax that would be quantized between them takes seven times as long in integers as in float.
* The output of Gemm, a classifier's logits as a rule, stays float: nothing that comes after it
  could use the integers.
"""

from __future__ import annotations

from exporters.quantize.dialect import Dialect

__all__ = ["ORT_X86"]

ORT_X86 = Dialect(
    name="ort-x86",
    runtime="ort",
    processor="x86",
    operators=(
        *("Conv", "Gemm", "MatMul", "Relu", "Clip", "Sigmoid", "Mul"),
        *("GlobalAveragePool", "MaxPool", "Reshape", "Transpose", "Flatten", "Squeeze", "Slice"),
    ),
    float_outputs=("Gemm",),
)
