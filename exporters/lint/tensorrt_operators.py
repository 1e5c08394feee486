"""What NVIDIA's ONNX parser says it does not know.

Asked of the parser of TensorRT-RTX 1.7 (`supports_operator`) for every operator of ONNX 1.23;
the tests ask it again.
"""

from __future__ import annotations

__all__ = ["NEWEST_OPSET", "UNKNOWN_OPERATORS"]

NEWEST_OPSET = 24
"""The newest that the parser of TensorRT 10.15 documents; that of 11 ends at 25."""

UNKNOWN_OPERATORS = frozenset({
    "AffineGrid", "Bernoulli", "BitCast", "BitShift", "BitwiseAnd", "BitwiseNot", "BitwiseOr",
    "BitwiseXor", "CenterCropPad", "Col2Im", "Compress", "ConcatFromSequence", "ConvInteger",
    "CumProd", "DFT", "DeformConv", "Det", "DynamicQuantizeLinear", "ImageDecoder",
    "MatMulInteger", "MaxRoiPool", "MaxUnpool", "MelWeightMatrix", "Multinomial",
    "NegativeLogLikelihoodLoss", "Optional", "OptionalGetElement", "OptionalHasElement",
    "QLinearConv", "QLinearMatMul", "RegexFullMatch", "SequenceAt", "SequenceConstruct",
    "SequenceEmpty", "SequenceErase", "SequenceInsert", "SequenceLength", "SequenceMap",
    "SoftmaxCrossEntropyLoss", "SplitToSequence", "StringConcat", "StringNormalizer",
    "StringSplit", "SwiGLU", "TfIdfVectorizer", "Unique",
})  # fmt: skip
