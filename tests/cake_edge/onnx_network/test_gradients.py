"""Gradients to the input, against finite differences in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cake_edge.onnx_network import OnnxGraph
from cake_edge.onnx_network.operators import OPERATORS
from cake_edge.onnx_network.operators.microsoft import DOMAIN

RANDOM = np.random.default_rng(3)


def image(*shape: int):
    return RANDOM.standard_normal(shape, dtype=np.float32)


def whole(*values: int):
    return np.array(values, np.int64)


def real(*values: float):
    return np.array(values, np.float32)


def apart(*shape: int):
    """Values of either sign, none near another or near zero: no kink is within a step."""
    count = int(np.prod(shape))
    values = (np.arange(count, dtype=np.float32) - count / 2 + 0.5) * 3 / count
    return RANDOM.permutation(values).reshape(shape)


X = apart(2, 4, 5, 4)
ROW = apart(2, 6)
POSITIVE = np.abs(X) + np.float32(0.2)
INSIDE = X / 2
SMALL = image(4)
GROWN = np.abs(image(4)) + 0.5
KERNEL = image(4, 2, 3, 3)
WINDOW = {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [0, 1, 1, 1]}

SMOOTH = [
    *[(name, 20, [X], {}) for name in (
        "Abs", "Asinh", "Atan", "Celu", "Cos", "Cosh", "Elu", "Erf", "Exp", "Gelu", "HardSwish",
        "HardSigmoid", "LeakyRelu", "Mish", "Neg", "Relu", "Selu", "Shrink", "Sigmoid", "Sin",
        "Sinh", "Softmax", "LogSoftmax", "Softplus", "Softsign", "Tanh", "ThresholdedRelu",
        "Identity", "Dropout", "Flatten", "Transpose", "GlobalAveragePool", "GlobalMaxPool",
        "LpNormalization", "ReduceL1", "ReduceL2", "ReduceMax", "ReduceMean", "ReduceMin",
        "ReduceSum", "ReduceSumSquare", "ReduceLogSumExp",
    )],
    *[(name, 20, [POSITIVE], {}) for name in (
        "Log", "Reciprocal", "Sqrt", "ReduceLogSum", "ReduceProd",
    )],
    *[(name, 20, [INSIDE], {}) for name in ("Acos", "Asin", "Atanh", "Tan")],
    ("Acosh", 20, [POSITIVE + 1], {}),
    *[(name, 20, [X, image(4, 1, 1)], {}) for name in (
        "Add", "Sub", "Mul", "Max", "Min", "Sum", "Mean", "PRelu",
    )],
    ("Div", 20, [X, GROWN[:, None, None]], {}),
    ("Pow", 20, [X, np.float32(2)], {}),
    ("Pow", 20, [POSITIVE, np.float32(-0.5)], {}),
    ("Mod", 20, [X, np.float32(0.37)], {"fmod": 1}),
    ("Clip", 20, [X, np.float32(-0.31), np.float32(0.47)], {}),
    ("Cast", 20, [X], {"to": 10}),
    ("CastLike", 20, [X, real(1)], {}),
    ("Conv", 20, [X, KERNEL, SMALL], {"group": 2, "pads": [0, 1, 2, 1], "strides": [2, 1]}),
    ("ConvTranspose", 20, [X, image(4, 3, 3, 2)], {"strides": [2, 3], "pads": [1, 0, 0, 1]}),
    ("AveragePool", 20, [X], WINDOW),
    ("AveragePool", 20, [X], {**WINDOW, "ceil_mode": 1, "count_include_pad": 1}),
    ("MaxPool", 20, [X], WINDOW),
    ("BatchNormalization", 20, [X, SMALL, SMALL, SMALL, GROWN], {}),
    ("InstanceNormalization", 20, [X, SMALL, SMALL], {}),
    ("GroupNormalization", 21, [X, SMALL, SMALL], {"num_groups": 2}),
    ("LayerNormalization", 20, [X, image(4), image(4)], {}),
    ("RMSNormalization", 23, [X, image(4)], {}),
    ("SimplifiedLayerNormalization", 20, [X, image(4)], {}),
    ("LRN", 20, [X], {"size": 3}),
    ("Gemm", 20, [ROW, image(3, 6), image(3)], {"transB": 1}),
    ("Gemm", 20, [ROW, image(6, 3)], {"alpha": 0.3}),
    ("MatMul", 20, [X, image(4, 2)], {}),
    ("Einsum", 20, [X, image(4, 3)], {"equation": "nchw,co->noh"}),
    (
        "Attention", 23, [X, image(2, 4, 3, 4), image(2, 4, 3, 4), image(5, 3)],
        {"softcap": 2.0},
    ),
    ("Attention", 23, [image(2, 3, 8), image(2, 3, 4), image(2, 3, 4)],
     {"q_num_heads": 4, "kv_num_heads": 2, "is_causal": 1}),
    ("Reshape", 20, [X, whole(0, -1)], {}),
    ("Expand", 20, [X, whole(3, 1, 1, 1, 1)], {}),
    ("Tile", 20, [X, whole(1, 2, 1, 1)], {}),
    ("Concat", 20, [X, image(2, 1, 5, 4)], {"axis": 1}),
    ("Slice", 20, [X, whole(-1), whole(-9), whole(2), whole(-2)], {}),
    ("Split", 20, [X], {"axis": 1, "num_outputs": 2}),
    ("Squeeze", 20, [X[:1], whole(0)], {}),
    ("Unsqueeze", 20, [X, whole(2)], {}),
    ("Pad", 20, [X, whole(0, 0, 1, 2, 0, 0, 3, 0)], {"mode": "reflect"}),
    ("Pad", 20, [X, whole(0, 0, 1, 2, 0, 0, -3, 0)], {}),
    ("DepthToSpace", 20, [X], {"blocksize": 2}),
    ("SpaceToDepth", 20, [X[:, :, :4]], {"blocksize": 2}),
    ("Gather", 20, [X, np.array([[0, -1], [1, 1]])], {"axis": 1}),
    ("GatherElements", 20, [ROW, np.array([[0, -1], [2, 1]])], {"axis": 1}),
    ("GatherND", 20, [X, np.array([[0, 1], [1, 3]])], {}),
    ("ScatterElements", 20, [ROW, np.array([[1, -1]]), image(1, 2)], {"axis": 1}),
    ("ScatterND", 20, [ROW, np.array([[0, 1]]), image(1)], {"reduction": "add"}),
    ("Trilu", 20, [X], {}),
    ("CumSum", 20, [X, np.int64(1)], {}),
    ("TopK", 20, [ROW, whole(3)], {}),
    ("Upsample", 9, [X, real(1, 1, 2, 1.5)], {"mode": "linear"}),
    *[
        ("Resize", 20, [X, None, None, whole(2, 4, 3, 7)], {"mode": mode, "antialias": anti})
        for mode, anti in (("nearest", 0), ("linear", 0), ("linear", 1), ("cubic", 0))
    ],
]  # fmt: skip
FUSED = [
    ("FusedConv", [X, KERNEL, SMALL], {"group": 2, "activation": "Tanh"}),
    ("FusedGemm", [ROW, image(6, 3), image(3)], {"activation": "Sigmoid"}),
    ("FusedMatMul", [X, image(4, 3)], {"alpha": 0.5}),
    ("Gelu", [X], {}),
    ("BiasGelu", [X, image(4)], {}),
    ("FastGelu", [X, image(4)], {}),
    ("QuickGelu", [X], {}),
    ("SkipLayerNormalization", [X[0], image(4, 5, 4), image(4), image(4)], {}),
    ("SkipSimplifiedLayerNormalization", [X[0], image(4, 5, 4), image(4)], {}),
]
STEPWISE = {
    "And", "ArgMax", "ArgMin", "Ceil", "ConstantOfShape", "Equal", "Floor", "Greater",
    "GreaterOrEqual", "Hardmax", "IsInf", "IsNaN", "Less", "LessOrEqual", "Not", "OneHot", "Or",
    "Range", "Round", "Shape", "Sign", "Size", "Xor",
}  # fmt: skip
"""No gradient: they answer with whole numbers, or do not look at values."""


def check(model, value) -> None:
    graph = OnnxGraph(model).double()

    def floats(x):
        return tuple(y for y in graph.run({"in.0": x}).values() if y.is_floating_point())

    x = torch.from_numpy(np.array(value)).double().requires_grad_()
    assert floats(x)[0].requires_grad
    assert torch.autograd.gradcheck(floats, (x,), eps=1e-6, atol=1e-5, rtol=1e-4, fast_mode=True)


@pytest.mark.parametrize(
    ("op_type", "opset", "inputs", "attributes"),
    [pytest.param(*each, id=f"{i}-{each[0]}") for i, each in enumerate(SMOOTH)],
)
def test_the_gradient_is_that_of_the_values(op_type, opset, inputs, attributes, node_model):
    outputs = 2 if op_type in ("Split", "TopK") else 1
    check(node_model(op_type, opset, inputs, attributes, outputs=outputs), inputs[0])


@pytest.mark.parametrize(
    ("op_type", "inputs", "attributes"), [pytest.param(*each, id=each[0]) for each in FUSED]
)
def test_the_gradient_of_a_fused_operator_is_that_of_the_values(
    op_type, inputs, attributes, node_model
):
    check(node_model(op_type, 20, inputs, attributes, domain=DOMAIN), inputs[0])


def test_where_passes_the_gradient_to_what_it_chose(node_model):
    model = node_model("Where", 20, [X, X > 0, np.float32(0)])
    model.graph.node[0].input[:] = ["in.1", "in.0", "in.2"]
    check(model, X)


def test_every_operator_is_checked_or_has_no_gradient():
    checked = {each[0] for each in SMOOTH} | STEPWISE | {"Where"}
    assert checked == {name for domain, name in OPERATORS if not domain}
    assert {each[0] for each in FUSED} == {name for domain, name in OPERATORS if domain == DOMAIN}


def test_batch_norm_of_one_image_whose_gradient_is_permuted_is_right(node_model):
    x, scale, bias = apart(1, 4, 5, 3), image(4), image(4)
    graph = OnnxGraph(node_model("BatchNormalization", 15, [x, scale, bias, bias, GROWN]))
    given = torch.from_numpy(x).requires_grad_()
    upstream = torch.from_numpy(image(1, 15, 4)).permute(0, 2, 1).reshape(1, 4, 5, 3)
    (got,) = torch.autograd.grad(graph.run({"in.0": given})["out.0"], given, upstream)
    factor = torch.from_numpy(scale / np.sqrt(GROWN + 1e-5)).reshape(4, 1, 1)
    torch.testing.assert_close(got, upstream * factor)
