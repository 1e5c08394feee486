"""The forms that operators had in each opset, against what ONNX Runtime computes.

onnx publishes cases for the newest form alone. Everything but the images is stored in the model
here, as exporters store it, so shapes and axes are Python's numbers.
"""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch

from cake_edge.onnx_network import OnnxGraph
from cake_edge.onnx_network.operators import OPERATORS
from cake_edge.onnx_network.operators.microsoft import DOMAIN

RANDOM = np.random.default_rng(7)


def image(*shape: int):
    return RANDOM.standard_normal(shape, dtype=np.float32)


def whole(*values: int):
    return np.array(values, np.int64)


def real(*values: float):
    return np.array(values, np.float32)


X = image(2, 4, 7, 6)
ROW = image(3, 10)
POSITIVE = np.abs(image(2, 4, 5, 5)) + 0.1
KERNEL = image(4, 2, 3, 3)
BACK = image(4, 3, 3, 2)
VECTOR = image(4)
SPREAD = np.abs(image(4)) + 0.5
NONE = None

# (operator, opset, inputs, attributes)
FORMS = [
    # softmax: one axis since 13, all axes from there on before
    *[
        (name, opset, [X], {"axis": axis})
        for name in ("Softmax", "LogSoftmax", "Hardmax")
        for opset in (9, 11, 13)
        for axis in (1, 2, 3)
    ],
    *[("Softmax", opset, [X], {}) for opset in (7, 11, 12, 13)],
    ("Softmax", 11, [X], {"axis": -2}),
    # axes of a reduction: an attribute, then an input
    *[
        (f"Reduce{name}", opset, [POSITIVE], {"axes": axes, "keepdims": keep})
        for name in ("Max", "Mean", "Min", "Prod", "L1", "L2", "LogSum", "LogSumExp", "SumSquare")
        for opset, axes, keep in ((9, [2, 3], 0), (11, [-1], 1), (13, [1], 1), (17, [0, -1], 0))
    ],
    ("ReduceSum", 9, [X], {"axes": [2, 3]}),
    ("ReduceSum", 11, [X], {"axes": [-2], "keepdims": 0}),
    ("ReduceSum", 13, [X, whole(2, -1)], {"keepdims": 0}),
    ("ReduceSum", 13, [X], {}),
    ("ReduceSum", 13, [X], {"noop_with_empty_axes": 1}),
    ("ReduceMean", 18, [X, whole(1, 2)], {"keepdims": 0}),
    ("ReduceMean", 9, [X], {}),
    ("ReduceMax", 18, [X, whole(-1)], {}),
    ("ReduceL2", 18, [X, whole(1)], {"keepdims": 0}),
    *[("ArgMax", opset, [X], {"axis": 1}) for opset in (7, 11, 13)],
    ("ArgMax", 12, [np.round(X)], {"axis": -1, "select_last_index": 1, "keepdims": 0}),
    ("ArgMin", 12, [np.round(X)], {"axis": 2, "select_last_index": 1}),
    # activations
    ("Clip", 7, [X], {"min": -0.5, "max": 0.5}),
    ("Clip", 9, [X], {"min": 0.0}),
    ("Clip", 10, [X], {}),
    ("Clip", 11, [X, np.float32(-0.5), np.float32(6)], {}),
    ("Clip", 13, [X, NONE, np.float32(0.1)], {}),
    ("Relu", 7, [X], {}),
    ("LeakyRelu", 9, [X], {"alpha": 0.2}),
    ("Elu", 9, [X], {"alpha": 0.7}),
    ("Selu", 9, [X], {}),
    ("Celu", 12, [X], {"alpha": 1.5}),
    ("PRelu", 7, [X, image(4, 1, 1)], {}),
    ("PRelu", 9, [X, image(1)], {}),
    ("HardSigmoid", 9, [X], {}),
    ("HardSigmoid", 9, [X], {"alpha": 0.1666667, "beta": 0.5}),
    ("HardSwish", 14, [X * 4], {}),
    ("Mish", 18, [X], {}),
    ("ThresholdedRelu", 10, [X], {"alpha": 0.3}),
    ("Shrink", 9, [X], {"bias": 0.2, "lambd": 0.4}),
    ("Gelu", 20, [X], {}),
    ("Gelu", 20, [X], {"approximate": "tanh"}),
    # shapes
    ("Slice", 9, [X], {"starts": [1, 0], "ends": [3, -1], "axes": [1, 3]}),
    ("Slice", 9, [X], {"starts": [0, -3], "ends": [1, 1000]}),
    ("Slice", 10, [X, whole(1, 0), whole(5, 6), whole(2, 3), whole(2, 3)], {}),
    ("Slice", 11, [X, whole(-1), whole(-100), whole(3), whole(-2)], {}),
    ("Slice", 13, [X, whole(5, 2), whole(0, 2**63 - 1), whole(-2, 1), whole(-3, 1)], {}),
    ("Slice", 13, [X, whole(-1), whole(-(2**63)), whole(1), whole(-1)], {}),
    ("Squeeze", 9, [X[:1, :, :1]], {"axes": [0, 2]}),
    ("Squeeze", 11, [X[:1, :, :1]], {"axes": [-4]}),
    ("Squeeze", 11, [X[:1, :, :1]], {}),
    ("Squeeze", 13, [X[:1, :, :1], whole(-2)], {}),
    ("Unsqueeze", 9, [X], {"axes": [0, 5]}),
    ("Unsqueeze", 11, [X], {"axes": [-1]}),
    ("Unsqueeze", 13, [X, whole(-1, 1)], {}),
    ("Flatten", 7, [X], {}),
    ("Flatten", 9, [X], {"axis": 0}),
    ("Flatten", 11, [X], {"axis": -1}),
    ("Reshape", 9, [X, whole(0, -1)], {}),
    ("Reshape", 14, [X, whole(-1, 0, 6, 1)], {}),
    ("Transpose", 9, [X], {}),
    ("Transpose", 9, [X], {"perm": [0, 2, 3, 1]}),
    ("Expand", 8, [X[:, :1], whole(1, 4, 1, 6)], {}),
    ("Tile", 7, [X, whole(1, 2, 1, 3)], {}),
    ("Concat", 9, [X, image(2, 1, 7, 6)], {"axis": 1}),
    ("Concat", 11, [X, image(2, 4, 7, 2)], {"axis": -1}),
    ("Identity", 9, [X], {}),
    ("Dropout", 7, [X], {"ratio": 0.3}),
    ("Dropout", 10, [X], {}),
    ("Dropout", 12, [X, np.float32(0.4), np.bool_(False)], {}),
    ("Shape", 9, [X], {}),
    ("Shape", 15, [X], {"start": 1, "end": -1}),
    ("Size", 9, [X], {}),
    ("DepthToSpace", 9, [X], {"blocksize": 2}),
    ("DepthToSpace", 11, [X], {"blocksize": 2, "mode": "CRD"}),
    ("SpaceToDepth", 9, [X[:, :, :6]], {"blocksize": 2}),
    # padding
    ("Pad", 9, [X], {"pads": [0, 0, 1, 2, 0, 0, 3, 0], "value": 0.5}),
    ("Pad", 9, [X], {"pads": [0, 0, 1, 2, 0, 0, 3, 0], "mode": "edge"}),
    ("Pad", 9, [X], {"pads": [0, 0, 1, 2, 0, 0, 3, 5], "mode": "reflect"}),
    ("Pad", 11, [X, whole(0, 0, -1, 2, 0, 0, 3, -2)], {}),
    ("Pad", 13, [X, whole(0, 1, 0, 0, 0, 0, 3, 0), np.float32(-1)], {"mode": "constant"}),
    ("Pad", 18, [X, whole(1, 2, 0, 3), np.float32(2), whole(2, -1)], {}),
    ("Pad", 19, [X, whole(0, 0, 3, 2, 0, 0, 1, 4)], {"mode": "wrap"}),
    # windows
    ("Conv", 9, [X, KERNEL, VECTOR], {"group": 2, "pads": [1, 1, 1, 1], "strides": [2, 2]}),
    ("Conv", 11, [X, KERNEL], {"group": 2, "pads": [0, 1, 2, 0], "dilations": [2, 1]}),
    ("Conv", 11, [X, KERNEL], {"group": 2, "auto_pad": "SAME_UPPER", "strides": [2, 3]}),
    ("Conv", 11, [X, KERNEL], {"group": 2, "auto_pad": "SAME_LOWER", "strides": [3, 2]}),
    ("Conv", 11, [X, KERNEL], {"group": 2, "auto_pad": "VALID"}),
    ("Conv", 11, [image(2, 3, 9), image(5, 3, 3)], {"pads": [1, 0]}),
    ("Conv", 11, [image(1, 2, 4, 5, 6), image(3, 2, 2, 3, 3)], {"pads": [1, 1, 1, 0, 1, 1]}),
    ("ConvTranspose", 9, [X, BACK, image(3)], {"strides": [2, 3], "pads": [1, 0, 0, 1]}),
    ("ConvTranspose", 11, [X, BACK], {"strides": [2, 2], "output_padding": [1, 1]}),
    ("ConvTranspose", 11, [X, BACK], {"strides": [2, 2], "output_shape": [14, 12]}),
    ("ConvTranspose", 11, [X, BACK], {"strides": [3, 2], "auto_pad": "SAME_UPPER"}),
    ("ConvTranspose", 11, [X, BACK], {"dilations": [2, 2], "group": 2}),
    *[
        (name, opset, [X], {"kernel_shape": [3, 3], "strides": [2, 2], **more})
        for name in ("AveragePool", "MaxPool")
        for opset in (7, 11)
        for more in (
            {},
            {"pads": [1, 1, 1, 1]},
            {"pads": [0, 1, 1, 2]},
            {"auto_pad": "SAME_UPPER"},
            {"auto_pad": "SAME_LOWER"},
        )
    ],
    *[
        (name, 10, [X], {"kernel_shape": [3, 2], "strides": [3, 2], "ceil_mode": 1, "pads": pads})
        for name in ("AveragePool", "MaxPool")
        for pads in ([0, 0, 0, 0], [1, 1, 1, 1], [1, 0, 0, 1])
    ],
    ("AveragePool", 7, [X], {"kernel_shape": [3, 3], "pads": [1] * 4, "count_include_pad": 1}),
    (
        "AveragePool", 19, [X],
        {"kernel_shape": [3, 3], "pads": [0, 1, 2, 1], "strides": [2, 2], "count_include_pad": 1,
         "ceil_mode": 1},
    ),
    ("AveragePool", 19, [X], {"kernel_shape": [2, 2], "dilations": [2, 3], "pads": [1] * 4}),
    ("AveragePool", 11, [image(2, 3, 9)], {"kernel_shape": [4], "strides": [2]}),
    ("MaxPool", 10, [X], {"kernel_shape": [2, 2], "dilations": [2, 2]}),
    ("MaxPool", 12, [image(1, 2, 5, 5, 5)], {"kernel_shape": [2, 2, 2], "strides": [2, 1, 2]}),
    ("GlobalAveragePool", 7, [X], {}),
    ("GlobalMaxPool", 7, [X], {}),
    # normalisation
    *[
        ("BatchNormalization", opset, [X, VECTOR, VECTOR, VECTOR, SPREAD], {"epsilon": 1e-3})
        for opset in (7, 9, 14, 15)
    ],
    ("InstanceNormalization", 9, [X, VECTOR, VECTOR], {}),
    ("GroupNormalization", 18, [X, image(2), image(2)], {"num_groups": 2}),
    ("GroupNormalization", 21, [X, VECTOR, VECTOR], {"num_groups": 2, "epsilon": 1e-3}),
    ("LayerNormalization", 17, [X, image(6), image(6)], {}),
    ("LayerNormalization", 17, [X, image(7, 6)], {"axis": 2, "epsilon": 1e-3}),
    ("RMSNormalization", 23, [X, image(6)], {"epsilon": 1e-3}),
    ("SimplifiedLayerNormalization", 17, [X, image(6)], {"epsilon": 1e-3}),
    ("LRN", 7, [X], {"size": 3, "alpha": 0.01, "beta": 0.6, "bias": 1.5}),
    ("LRN", 13, [X], {"size": 5}),
    ("LpNormalization", 9, [X], {"axis": 1, "p": 2}),
    ("LpNormalization", 9, [X], {"axis": -1, "p": 1}),
    # products
    ("Gemm", 7, [ROW, image(4, 10), VECTOR], {"transB": 1}),
    ("Gemm", 9, [ROW, image(3, 4), image(1, 4)], {"transA": 1, "alpha": 0.5, "beta": 2.0}),
    ("Gemm", 11, [ROW, image(10, 4)], {}),
    ("MatMul", 9, [X, image(6, 5)], {}),
    ("Einsum", 12, [ROW, image(4, 10)], {"equation": "nc, oc -> no"}),
    (
        "Attention", 23, [image(2, 5, 8), image(2, 7, 8), image(2, 7, 8)],
        {"q_num_heads": 2, "kv_num_heads": 2},
    ),
    # indices
    ("Gather", 9, [X, np.int64(1)], {"axis": 1}),
    ("Gather", 11, [X, np.int64(-1)], {"axis": -1}),
    ("Gather", 11, [X, np.array([[0, -1], [2, 1]])], {"axis": 1}),
    ("GatherElements", 11, [ROW, np.array([[0, -1], [2, 1], [9, 3]])], {"axis": 1}),
    ("GatherND", 11, [X, np.array([[0, 1], [1, 3]])], {}),
    ("GatherND", 12, [X, np.array([[1], [-1]])], {"batch_dims": 1}),
    ("ScatterElements", 11, [ROW, np.array([[1, -1]]), image(1, 2)], {"axis": 1}),
    (
        "ScatterElements", 16, [ROW, np.array([[1, 1]]), image(1, 2)],
        {"axis": 1, "reduction": "add"},
    ),
    ("ScatterND", 11, [ROW, np.array([[0, 1], [-1, 3]]), image(2)], {}),
    ("ScatterND", 16, [ROW, np.array([[0], [0]]), image(2, 10)], {"reduction": "add"}),
    ("Trilu", 14, [X, np.int64(1)], {"upper": 0}),
    ("CumSum", 11, [X, np.int64(1)], {"exclusive": 1, "reverse": 1}),
    ("OneHot", 9, [whole(1, 4, 3), np.int64(4), real(0, 2)], {}),
    ("OneHot", 11, [whole(1, 0, 3), np.int64(4), real(1, 5)], {"axis": 0}),
    ("Range", 11, [np.int64(2), np.int64(11), np.int64(3)], {}),
    ("Range", 11, [np.float32(1), np.float32(0), np.float32(-0.25)], {}),
    ("ConstantOfShape", 9, [whole(2, 3)], {}),
    ("Where", 9, [X[0] > 0, X, np.float32(0)], {}),
    # arithmetic
    ("Pow", 7, [POSITIVE, np.float32(1.5)], {}),
    ("Pow", 12, [X, np.int64(2)], {}),
    ("Mod", 10, [X, np.float32(0.7)], {"fmod": 1}),
    ("Mod", 10, [whole(-7, 7, 5), whole(3, -3, 5)], {}),
    ("Div", 7, [whole(-7, 7, 5), whole(2, -2, 3)], {}),
    ("Max", 8, [X, VECTOR[:, None, None], np.float32(0)], {}),
    ("Min", 8, [X, np.float32(0.2)], {}),
    ("Mean", 8, [X, VECTOR[:, None, None]], {}),
    ("Sum", 8, [X, X, VECTOR[:, None, None]], {}),
    ("Cast", 9, [X * 3], {"to": onnx.TensorProto.INT32}),
    ("Cast", 13, [X], {"to": onnx.TensorProto.BOOL}),
    ("Cast", 13, [X], {"to": onnx.TensorProto.DOUBLE}),
    ("Not", 7, [np.array([True, False])], {}),
    ("Not", 13, [np.array([[True], [False]])], {}),
    ("Round", 11, [real(0.5, 1.5, -0.5, 2.4)], {}),
    ("Equal", 7, [whole(1, 2, 3), whole(1, 0, 3)], {}),
    ("Greater", 7, [X, np.float32(0)], {}),
    ("IsInf", 10, [real(1, np.inf, -np.inf)], {"detect_negative": 0}),
    # resizing
    ("Upsample", 7, [X], {"scales": [1.0, 1.0, 2.0, 3.0]}),
    ("Upsample", 7, [X], {"scales": [1.0, 1.0, 2.0, 2.0], "mode": "linear"}),
    ("Upsample", 9, [X, real(1, 1, 2, 1.5)], {}),
    ("Upsample", 9, [X, real(1, 1, 2.5, 2)], {"mode": "linear"}),
    ("Resize", 10, [X, real(1, 1, 2, 1.7)], {}),
    ("Resize", 10, [X, real(1, 1, 0.6, 0.5)], {}),
    ("Resize", 10, [X, real(1, 1, 0.6, 2)], {"mode": "linear"}),
    *[
        (
            "Resize", opset, [X, real(), real(), whole(2, 4, *sizes)],
            {"mode": mode, "coordinate_transformation_mode": how},
        )
        for opset in (11, 13, 19)
        for mode in ("nearest", "linear", "cubic")
        for how in ("half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric")
        for sizes in ((14, 13), (3, 4))
    ],
    *[
        (
            "Resize", 11, [X, real(), real(1, 1, 1.6, 0.7)],
            {"nearest_mode": how, "coordinate_transformation_mode": "asymmetric"},
        )
        for how in ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil")
    ],
    (
        "Resize", 11, [X, real(0, 0, 0.1, 0.2, 1, 1, 0.8, 1.3), real(), whole(2, 4, 5, 5)],
        {"mode": "linear", "coordinate_transformation_mode": "tf_crop_and_resize",
         "extrapolation_value": 3.0},
    ),
    (
        "Resize", 11, [X, real(), real(), whole(2, 4, 14, 5)],
        {"coordinate_transformation_mode": "tf_half_pixel_for_nn"},
    ),
    ("Resize", 13, [X, NONE, real(1, 1, 1.7, 2.3)], {"mode": "cubic", "exclude_outside": 1}),
    *[
        (
            "Resize", 18, [X, NONE, NONE, whole(4, 4)],
            {"mode": mode, "axes": [2, 3], "antialias": 1},
        )
        for mode in ("linear", "cubic")
    ],
    (
        "Resize", 18, [X, NONE, NONE, whole(12, 24)],
        {"mode": "linear", "axes": [2, 3], "keep_aspect_ratio_policy": "not_larger"},
    ),
]  # fmt: skip
SEVERAL = [
    ("Split", 9, [X], {"axis": 1, "split": [1, 3]}, 2),
    ("Split", 11, [X], {"axis": -1}, 3),
    ("Split", 13, [X, whole(2, 5)], {"axis": 2}, 2),
    ("Split", 18, [X], {"axis": 2, "num_outputs": 3}, 3),
    ("TopK", 9, [ROW], {"k": 3}, 2),
    ("TopK", 10, [ROW, whole(4)], {"axis": 1}, 2),
    ("TopK", 11, [np.round(ROW), whole(5)], {"largest": 0}, 2),
    ("LayerNormalization", 17, [X, image(6), image(6)], {}, 3),
]
MICROSOFT = [
    ("FusedConv", [X, KERNEL, VECTOR], {"group": 2, "activation": "Relu"}),
    ("FusedConv", [X, KERNEL, VECTOR], {"group": 2, "activation": "Tanh"}),
    ("FusedConv", [X, KERNEL, VECTOR], {"group": 2, "activation": "Sigmoid"}),
    (
        "FusedConv", [X, KERNEL, VECTOR],
        {"group": 2, "activation": "LeakyRelu", "activation_params": [0.3]},
    ),
    (
        "FusedConv", [X, KERNEL, VECTOR],
        {"group": 2, "activation": "Clip", "activation_params": [0.0, 0.5]},
    ),
    (
        "FusedConv", [X, KERNEL, VECTOR],
        {"group": 2, "activation": "HardSigmoid", "activation_params": [0.3, 0.4]},
    ),
    ("FusedConv", [X, KERNEL, VECTOR, image(2, 4, 5, 4)], {"group": 2, "activation": "Relu"}),
    ("FusedGemm", [ROW, image(4, 10), VECTOR], {"transB": 1, "activation": "Relu"}),
    (
        "FusedGemm", [ROW, image(10, 4), VECTOR],
        {"activation": "LeakyRelu", "activation_alpha": 0.2},
    ),
    ("FusedMatMul", [X, image(2, 4, 5, 6)], {"transB": 1, "alpha": 0.3}),
    ("Gelu", [X], {}),
    ("FastGelu", [X, image(6)], {}),
    ("FastGelu", [X], {}),
    ("BiasGelu", [X, image(6)], {}),
    ("QuickGelu", [X], {"alpha": 1.2}),
    ("SkipLayerNormalization", [X[0], X[1], image(6), image(6), image(6)], {"epsilon": 1e-4}),
    ("SkipSimplifiedLayerNormalization", [X[0], X[1], image(6)], {"epsilon": 1e-4}),
]  # fmt: skip


def named(forms):
    return [pytest.param(*form, id=f"{i}-{form[0]}-{form[1]}") for i, form in enumerate(forms)]


def agree(model: onnx.ModelProto, first, answers) -> None:
    feeds = {port.name: np.asarray(first) for port in model.graph.input}
    graph = OnnxGraph(model)
    found = graph.run({name: torch.from_numpy(np.array(first)) for name in feeds})
    for got, want in zip(found.values(), answers(model, feeds), strict=True):
        assert tuple(got.shape) == want.shape
        assert (got.dtype == torch.bool) == (want.dtype == np.bool_)
        np.testing.assert_allclose(got.numpy(), want, rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize(("op_type", "opset", "inputs", "attributes"), named(FORMS))
def test_a_form_of_an_operator_computes_as_in_onnx_runtime(
    op_type, opset, inputs, attributes, node_model, answers
):
    agree(node_model(op_type, opset, inputs, attributes), inputs[0], answers)


@pytest.mark.parametrize(("op_type", "opset", "inputs", "attributes", "outputs"), named(SEVERAL))
def test_a_form_with_several_outputs_computes_as_in_onnx_runtime(
    op_type, opset, inputs, attributes, outputs, node_model, answers
):
    agree(node_model(op_type, opset, inputs, attributes, outputs=outputs), inputs[0], answers)


@pytest.mark.parametrize(
    ("op_type", "inputs", "attributes"), [pytest.param(*f, id=f[0]) for f in MICROSOFT]
)
def test_a_fused_operator_computes_as_in_onnx_runtime(
    op_type, inputs, attributes, node_model, answers
):
    agree(node_model(op_type, 17, inputs, attributes, domain=DOMAIN), inputs[0], answers)


def test_every_fused_operator_has_a_form():
    assert {form[0] for form in MICROSOFT} == {n for domain, n in OPERATORS if domain == DOMAIN}
