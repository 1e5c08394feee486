from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from exporters.quantize.bias import correct_biases, correctable_inputs
from exporters.quantize.insert import write_qdq
from exporters.quantize.ort_x86 import ORT_X86
from exporters.quantize.ranges import Range, TensorRanges
from exporters.runtimes.ort import open_inference_session, session_options

RANDOM = np.random.default_rng(1)


def convolution(groups):
    """Six channels to eight through one 3 x 3 convolution without border."""
    weight = RANDOM.standard_normal((8, 6 // groups, 3, 3)).astype(np.float32)
    return classifier(
        [
            helper.make_node(
                "Conv", ["input", "weight", "bias"], ["made"], name="layer", group=groups
            ),
            helper.make_node("GlobalAveragePool", ["made"], ["mean"], name="pool"),
            helper.make_node("Flatten", ["mean"], ["logits"], name="flat"),
        ],
        weight,
        (6, 9, 9),
    )


def linear(**attributes):
    """Six features to eight."""
    weight = RANDOM.standard_normal((8, 6)).astype(np.float32)
    return classifier(
        [
            helper.make_node("Flatten", ["input"], ["features"], name="flat"),
            helper.make_node(
                "Gemm", ["features", "weight", "bias"], ["logits"], name="layer", **attributes
            ),
        ],
        weight,
        (6, 1, 1),
    )


def classifier(nodes, weight, size):
    bias = RANDOM.standard_normal(8).astype(np.float32)
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ("batch", *size))],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ("batch", 8))],
        [numpy_helper.from_array(weight, "weight"), numpy_helper.from_array(bias, "bias")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)])
    model.ir_version = 10
    return onnx.shape_inference.infer_shapes(model)


def outputs(model, images):
    session = open_inference_session(
        model.SerializeToString(), session_options(optimise=False), what="it"
    )
    return session.run(["logits"], {"input": images})[0]


def quantized(model):
    names = ("input", "features", "made", "mean", "logits")
    # Wide steps of the activations would hide what the weights do.
    wide = Range(-9.0, 9.0, "minmax")
    return write_qdq(
        model, ORT_X86, {name: TensorRanges(asymmetric=wide, symmetric=wide) for name in names}
    )


@pytest.mark.parametrize("groups", [1, 2])
def test_the_mean_of_each_channel_comes_back(groups):
    model = convolution(groups)
    # Constant over each image, as then the mean over positions is exact; far from mean zero.
    images = (2 + RANDOM.standard_normal((64, 6, 1, 1))).astype(np.float32)
    images = np.ascontiguousarray(np.broadcast_to(images, (64, 6, 9, 9)))
    means = {"input": images.mean(axis=(0, 2, 3), dtype=np.float64)}
    assert correctable_inputs(model) == {"input"}
    rounded = dequantized_weight(quantized(model))
    corrected = correct_biases(model, quantized(model), means)

    exact, wrong = outputs(model, images), outputs(with_weight(model, rounded), images)
    right = outputs(with_weight(corrected, rounded), images)
    assert np.abs((wrong - exact).mean(axis=0)).max() > 1e-3
    np.testing.assert_allclose((right - exact).mean(axis=0), 0, atol=2e-5)


def test_a_linear_layer_is_corrected_too():
    model = linear(transB=1)
    images = (3 + RANDOM.standard_normal((64, 6, 1, 1))).astype(np.float32)
    means = {"features": images.mean(axis=(0, 2, 3), dtype=np.float64)}
    assert correctable_inputs(model) == {"features"}
    rounded = dequantized_weight(quantized(model))
    corrected = correct_biases(model, quantized(model), means)
    exact = outputs(model, images)
    right = outputs(with_weight(corrected, rounded), images)
    np.testing.assert_allclose((right - exact).mean(axis=0), 0, atol=2e-5)


@pytest.mark.parametrize("attributes", [{"transB": 1, "alpha": 0.5}, {"transB": 1, "beta": 2.0}])
def test_a_gemm_that_is_no_linear_layer_is_left_alone(attributes):
    assert correctable_inputs(linear(**attributes)) == set()


def test_a_weight_of_inputs_by_outputs_is_left_alone():
    model = linear()
    (weight, _) = model.graph.initializer
    turned = numpy_helper.to_array(weight).T.copy()
    weight.CopyFrom(numpy_helper.from_array(turned, weight.name))
    assert correct_biases(model, quantized(model), {}) == model


def test_the_float_model_is_not_changed():
    model = convolution(1)
    before = model.SerializeToString()
    correct_biases(model, quantized(model), {"input": np.ones(6)})
    assert model.SerializeToString() == before


def dequantized_weight(model):
    """The rounded weight, from the integers and scales in the file."""
    constants = {one.name: numpy_helper.to_array(one) for one in model.graph.initializer}
    scale = constants["weight_scale"]
    integers = constants["weight_quantized"]
    return (integers * scale.reshape(-1, *[1] * (integers.ndim - 1))).astype(np.float32)


def with_weight(model, weight):
    changed = onnx.ModelProto.FromString(model.SerializeToString())
    for one in changed.graph.initializer:
        if one.name == "weight":
            one.CopyFrom(numpy_helper.from_array(weight, "weight"))
    return changed
