from __future__ import annotations

import copy

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationMethod, QDQQuantizer, QuantType
from onnxruntime.quantization.calibrate import TensorsData
from reference.rounding import requantized

from cake_edge.errors import UsageMistake
from exporters.parity import compare
from exporters.quantize.graph import float_tensors
from exporters.quantize.reconstruct import ReconstructConfig, reconstruct
from exporters.quantize.reconstruct.layers import find_layers
from exporters.quantize.reconstruct.scales import LARGEST, round_nearest
from exporters.runtimes.ort import open_inference_session, session_options


@pytest.fixture(scope="module")
def others(spec):
    """Images that nothing was chosen on."""
    random = np.random.default_rng(1)
    return random.standard_normal((64, *spec.input_size)).astype(np.float32)


@pytest.fixture(scope="module")
def done(ready, images):
    """bits → (model, records), made once."""
    made = {}

    def of(bits):
        if bits not in made:
            made[bits] = reconstruct(ready, images, bits=bits)
        return made[bits]

    return of


def constants_of(model):
    return {one.name: numpy_helper.to_array(one) for one in model.graph.initializer}


def run(model, images):
    session = open_inference_session(model.SerializeToString(), session_options(), what="it")
    return session.run(None, {model.graph.input[0].name: images})[0]


def rounded_to_nearest(model, bits):
    rounded = copy.deepcopy(model)
    constants = {one.name: one for one in rounded.graph.initializer}
    for layer in find_layers(model, None):
        stored = numpy_helper.to_array(constants[layer.weight])
        integers, scales = round_nearest(layer.matrix(stored), bits)
        values = layer.stored(integers * scales[:, :, None], stored.shape)
        constants[layer.weight].CopyFrom(numpy_helper.from_array(values, layer.weight))
    return rounded


def signal_to_noise(ready, other, images):
    return compare(run(ready, images), run(other, images)).sqnr_db


def quantized_by_the_runtime(model, bits):
    """The constants of the file that ONNX Runtime's quantizer makes of `model`."""
    unit = (np.float32(0), np.float32(1))
    table = {
        name: tuple(np.array(end, np.float32) for end in unit) for name in float_tensors(model)
    }
    quantizer = QDQQuantizer(
        copy.deepcopy(model),
        per_channel=True,
        reduce_range=bits == 7,
        weight_qType=QuantType.QInt8,
        activation_qType=QuantType.QUInt8,
        tensors_range=TensorsData(CalibrationMethod.MinMax, table),
        nodes_to_quantize=[],
        nodes_to_exclude=[],
        op_types_to_quantize=["Conv", "Gemm", "MatMul"],
        extra_options={"QDQDisableWeightAdjustForInt32Bias": True},
    )
    quantizer.quantize_model()
    return constants_of(quantizer.model.model)


@pytest.mark.parametrize("bits", [4, 8])
def test_logits_are_nearer_to_float_than_with_weights_rounded_to_nearest(ready, done, others, bits):
    model, _ = done(bits)
    before = signal_to_noise(ready, rounded_to_nearest(ready, bits), others)
    assert signal_to_noise(ready, model, others) > before + 3


def test_every_layer_moves_its_output_less(done, ready):
    _, records = done(4)
    assert [record.name for record in records] == [
        node.name for node in ready.graph.node if node.op_type in ("Conv", "Gemm", "MatMul")
    ]
    for record in records:
        assert record.reconstructed
        assert record.reason is None
        assert 0 < record.found < 0.95 * record.nearest
    assert sum(one.found for one in records) < 0.5 * sum(one.nearest for one in records)


@pytest.mark.parametrize("bits", [7, 8])
def test_the_runtimes_quantizer_finds_the_integers_again(done, bits):
    model, _ = done(bits)
    written, found = quantized_by_the_runtime(model, bits), constants_of(model)
    layers = find_layers(model, None)
    assert layers
    for layer in layers:
        integers = written[f"{layer.weight}_quantized"]
        scales = written[f"{layer.weight}_scale"]
        assert (
            np.abs(integers.astype(int)).reshape(len(integers), -1).max(axis=1).min()
            == (LARGEST[bits])
        )
        values = integers * scales.reshape(-1, *[1] * (integers.ndim - 1))
        np.testing.assert_allclose(values, found[layer.weight], rtol=1e-5, atol=0)


def test_weights_lie_on_a_grid_of_so_many_bits(done):
    model, _ = done(4)
    constants = constants_of(model)
    for layer in find_layers(model, None):
        for row in layer.matrix(constants[layer.weight]).reshape(-1, layer_width(layer, constants)):
            integers, scale = requantized(row, 7)
            np.testing.assert_allclose(np.array(integers) * scale, row, rtol=1e-5)


def layer_width(layer, constants):
    return layer.matrix(constants[layer.weight]).shape[2]


def test_the_input_is_left_alone_and_the_same_comes_out_twice(ready, images):
    before = ready.SerializeToString(deterministic=True)
    first, records = reconstruct(ready, images, bits=8)
    second, again = reconstruct(ready, images, bits=8)
    assert ready.SerializeToString(deterministic=True) == before
    assert first.SerializeToString(deterministic=True) == second.SerializeToString(
        deterministic=True
    )
    assert records == again


def test_only_the_nodes_named_are_touched(ready, images):
    names = [layer.name for layer in find_layers(ready, None)]
    model, records = reconstruct(ready, images, bits=4, nodes=names[1:2])
    assert [record.name for record in records] == names[1:2]
    before, after = constants_of(ready), constants_of(model)
    changed = {name for name in before if not np.array_equal(before[name], after[name])}
    layer = find_layers(ready, names[1:2])[0]
    assert changed == {layer.weight, layer.bias}


def test_little_memory_runs_the_images_again_and_changes_nothing(ready, images, done):
    calls = []

    def counted():
        calls.append(1)
        return images()

    widest = max(
        layer.matrix(constants_of(ready)[layer.weight]).shape[2]
        for layer in find_layers(ready, None)
    )
    config = ReconstructConfig(memory=8 * widest**2)
    model, records = reconstruct(ready, counted, bits=8, config=config)
    assert len(calls) > 1
    assert records == done(8)[1]
    assert model == done(8)[0]


def test_a_layer_too_wide_for_the_memory_is_rounded_to_nearest_and_says_so(ready, images):
    model, records = reconstruct(ready, images, bits=4, config=ReconstructConfig(memory=20_000))
    left = [record for record in records if not record.reconstructed]
    assert 0 < len(left) < len(records)
    assert all("more than the" in record.reason for record in left)
    assert all(record.nearest is record.found is None for record in left)
    nearest, found = constants_of(rounded_to_nearest(ready, 4)), constants_of(model)
    for layer in find_layers(ready, [record.name for record in left]):
        np.testing.assert_array_equal(found[layer.weight], nearest[layer.weight])


def depthwise(bias):
    """A strided depthwise convolution whose inputs are far from zero, then a product."""
    random = np.random.default_rng(2)
    constants = {
        "shift": np.float32(3),
        "w": random.standard_normal((6, 1, 3, 3)).astype(np.float32),
        "axes": np.array([2, 3]),
        "v": random.standard_normal((6, 4)).astype(np.float32),
    }
    if bias:
        constants["b"] = random.standard_normal(6).astype(np.float32)
    nodes = [
        helper.make_node("Add", ["input", "shift"], ["x"]),
        helper.make_node(
            "Conv", ["x", "w", *["b"] * bias], ["y"], name="conv", group=6, strides=[2, 2]
        ),
        helper.make_node("ReduceMean", ["y", "axes"], ["z"], keepdims=0),
        helper.make_node("MatMul", ["z", "v"], ["logits"], name="product"),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ("batch", 6, 12, 12))],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ("batch", 4))],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)])
    model.ir_version = 10
    return model


def outputs(model, name, images):
    cut = copy.deepcopy(model)
    del cut.graph.output[:]
    cut.graph.output.extend([helper.make_tensor_value_info(name, TensorProto.FLOAT, None)])
    return run(cut, images)


def test_the_bias_takes_up_the_mean_error():
    images = np.random.default_rng(3).standard_normal((32, 6, 12, 12)).astype(np.float32)
    model, changed = depthwise(bias=True), None
    changed, records = reconstruct(model, lambda: iter([images]), bits=4)
    error = outputs(changed, "y", images) - outputs(model, "y", images)
    assert np.abs(error.mean(axis=(0, 2, 3))).max() < 1e-5
    power = outputs(model, "y", images).var(axis=(0, 2, 3)).sum()
    assert records[0].found == pytest.approx(error.var(axis=(0, 2, 3)).sum() / power, rel=1e-3)


def test_without_a_bias_the_mean_error_counts_as_well():
    images = np.random.default_rng(3).standard_normal((32, 6, 12, 12)).astype(np.float32)
    model = depthwise(bias=False)
    changed, records = reconstruct(model, lambda: iter([images]), bits=4)
    error = outputs(changed, "y", images) - outputs(model, "y", images)
    power = (outputs(model, "y", images) ** 2).sum()
    assert records[0].found == pytest.approx((error**2).sum() / power, rel=1e-3)
    assert records[0].found < 0.3 * records[0].nearest


def test_a_shared_weight_is_left_as_it_is():
    model = depthwise(bias=False)
    square = numpy_helper.from_array(np.eye(4, dtype=np.float32), "u")
    model.graph.initializer.append(square)
    model.graph.node[-1].output[0] = "p"
    model.graph.node.extend(
        [
            helper.make_node("MatMul", ["p", "u"], ["q"], name="one"),
            helper.make_node("MatMul", ["q", "u"], ["logits"], name="two"),
        ]
    )
    images = np.ones((2, 6, 12, 12), np.float32)
    changed, records = reconstruct(model, lambda: iter([images]), bits=4)
    assert [record.reconstructed for record in records] == [True, True, False, False]
    np.testing.assert_array_equal(constants_of(changed)["u"], np.eye(4))


@pytest.mark.parametrize("spread", [0.0, 1e-3, 0.3])
def test_inputs_that_hardly_move_do_not_stop_it(spread):
    random = np.random.default_rng(0)
    noise = random.standard_normal((2, 6, 12, 12)).astype(np.float32)
    images = 1000 + np.float32(spread) * noise
    changed, records = reconstruct(depthwise(bias=True), lambda: iter([images]), bits=8)
    onnx.checker.check_model(changed)
    assert [record.reconstructed for record in records] == [True, True]


def test_nodes_without_names_have_a_record_each():
    model = depthwise(bias=True)
    for node in model.graph.node:
        node.name = ""
    images = np.random.default_rng(0).standard_normal((2, 6, 12, 12)).astype(np.float32)
    _, records = reconstruct(model, lambda: iter([images]), bits=8)
    assert [record.op for record in records] == ["Conv", "MatMul"]


@pytest.mark.parametrize("bits", [2, 9, 16])
def test_other_bits_are_refused(ready, images, bits):
    with pytest.raises(UsageMistake, match=f"bits is {bits}; allowed: 3, 4, 5, 6, 7, 8"):
        reconstruct(ready, images, bits=bits)
