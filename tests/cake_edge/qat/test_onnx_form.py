"""The form for export computes the same, and its integers are within their bits."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from cake_edge.qat.convert import fake_quantized
from cake_edge.qat.onnx_form import onnx_form
from cake_edge.qat.ranges import calibrate

IMAGES = torch.randn(6, 3, 32, 32, generator=torch.Generator().manual_seed(1))


def exported(network: torch.nn.Module) -> onnx.ModelProto:
    program = torch.onnx.export(
        network, (IMAGES[:2],), dynamo=True, input_names=["input"], verbose=False,
        dynamic_shapes=({0: torch.export.Dim("batch")},), opset_version=20, optimize=True,
    )  # fmt: skip
    return program.model_proto


@pytest.mark.parametrize("name", ["test_resnet", "test_efficientnet", "test_vit"])
def test_onnx_runtime_computes_what_torch_does(build, name):
    network = fake_quantized(build(name), IMAGES, weight_bits=4, activation_bits=4).network
    calibrate(network, [IMAGES], "least-error")
    form = onnx_form(network)
    with torch.no_grad():
        wanted = network(IMAGES)
        torch.testing.assert_close(form(IMAGES), wanted, atol=0.05, rtol=0.05)
        assert torch.equal(network(IMAGES), wanted)  # the original is left whole
    model = exported(form)
    onnx.checker.check_model(model, full_check=True)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    given = session.run(None, {"input": IMAGES.numpy()})[0]
    # A value half way between two levels may fall to either, so most and not all are equal.
    assert np.median(np.abs(given - wanted.numpy())) < 0.01 * float(wanted.abs().max())


def test_weights_are_integers_of_few_bits_and_inputs_are_clipped(build):
    network = fake_quantized(build("test_resnet"), IMAGES, weight_bits=3, activation_bits=4).network
    calibrate(network, [IMAGES], "min-max")
    model = exported(onnx_form(network))
    tensors = {t.name: onnx.numpy_helper.to_array(t) for t in model.graph.initializer}
    pairs = [n for n in model.graph.node if n.op_type == "DequantizeLinear"]
    weights = [tensors[n.input[0]] for n in pairs if n.input[0] in tensors]
    widest = sorted(int(np.abs(weight.astype(int)).max()) for weight in weights)
    assert {weight.dtype for weight in weights} == {np.dtype(np.int8)}
    assert set(widest[:-2]) == {3}
    assert widest[-2:] == [127, 127]
    quantized = [n for n in model.graph.node if n.op_type == "QuantizeLinear"]
    assert len(quantized) == len(weights)
    makers = {out: n.op_type for n in model.graph.node for out in n.output}
    assert sum(makers.get(n.input[0]) == "Clip" for n in quantized) == len(weights) - 2
