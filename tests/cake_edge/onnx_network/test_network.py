"""Whole classifiers: what comes back from ONNX is the network that went in."""

from __future__ import annotations

import io
import warnings

import numpy as np
import onnx
import pytest
import timm
import torch
from onnx import TensorProto, helper, numpy_helper

from cake_edge.errors import TeacherError
from cake_edge.onnx_network import network_from_onnx
from cake_edge.spec import ImageSpec
from exporters.artifact import ModelCard
from exporters.onnx_export import export_onnx

SIZE = 32
# Smooth, or with few kinks: a ReLU at its kink turns a rounding error into another gradient.
NETWORKS = ("test_resnet", "test_vit", "test_convnext")


def build(name: str) -> torch.nn.Module:
    """A network with random weights, whose BatchNorm does something."""
    sized = {"img_size": SIZE} if "vit" in name or "swin" in name else {}
    with torch.random.fork_rng():
        torch.random.default_generator.manual_seed(0)
        network = timm.create_model(name, num_classes=5, **sized).eval()
        for module in network.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                torch.nn.init.uniform_(module.weight, 0.5, 1.5)
                torch.nn.init.normal_(module.bias, 0, 0.2)
                torch.nn.init.normal_(module.running_mean, 0, 0.2)
                torch.nn.init.uniform_(module.running_var, 0.5, 1.5)
    return network


def images(count: int) -> torch.Tensor:
    return torch.randn(count, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(count))


def from_old_exporter(network: torch.nn.Module, opset: int, **more) -> onnx.ModelProto:
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch would rather be asked for its new exporter
        torch.onnx.export(
            network, (images(2),), file, dynamo=False, opset_version=opset, input_names=["images"],
            output_names=["logits"], dynamic_axes={"images": {0: "n"}, "logits": {0: "n"}}, **more,
        )  # fmt: skip
    return onnx.load_from_string(file.getvalue())


def from_new_exporter(network: torch.nn.Module, path) -> onnx.ModelProto:
    spec = ImageSpec(
        channels=3, height=SIZE, width=SIZE, mean=(0.5,) * 3, std=(0.5,) * 3, classes=5
    )
    card = ModelCard(
        architecture="x", spec=spec, role="teacher", parent="ab" * 32, parameters=1, manifest={}
    )
    export_onnx(network, path, card)
    return onnx.load(path)


def same(network: torch.nn.Module, found: torch.nn.Module) -> None:
    """Logits within 1e-4, gradients within 1e-4 of their length, for one image and for three."""
    for count in (1, 3):
        x = images(count).requires_grad_()
        want, got = network(x), found(x)
        torch.testing.assert_close(got, want, rtol=0, atol=1e-4)
        (slope,) = torch.autograd.grad(want.square().sum(), x)
        (mine,) = torch.autograd.grad(got.square().sum(), x)
        assert (mine - slope).norm() <= 1e-4 * slope.norm()


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_comes_back_from_todays_exporter(name, tmp_path):
    network = build(name)
    found = network_from_onnx(from_new_exporter(network, tmp_path / "x.onnx"))
    same(network, found)
    assert found.batch_norm_count == 0


@pytest.mark.parametrize("fold", [True, False])
@pytest.mark.parametrize(
    ("name", "opset"),
    [("test_resnet", 11), ("test_efficientnet", 13), ("test_convnext", 17), ("test_vit", 17),
     ("mobilenetv3_small_050", 11), ("ghostnet_050", 12)],
)  # fmt: skip
def test_a_network_comes_back_from_the_old_exporter(name, opset, fold):
    network = build(name)
    model = from_old_exporter(
        network, opset, do_constant_folding=fold, training=torch.onnx.TrainingMode.PRESERVE
    )
    found = network_from_onnx(model)
    same(network, found)
    norms = sum(isinstance(m, torch.nn.BatchNorm2d) for m in network.modules())
    assert found.batch_norm_count == norms


def test_a_float16_file_is_computed_in_float32():
    network = build("test_resnet")
    model = from_old_exporter(network.half().float(), 13, training=torch.onnx.TrainingMode.PRESERVE)
    for tensor in model.graph.initializer:
        if tensor.data_type == TensorProto.FLOAT:
            half = numpy_helper.to_array(tensor).astype(np.float16)
            tensor.CopyFrom(numpy_helper.from_array(half, tensor.name))
    found = network_from_onnx(model)
    assert {p.dtype for p in found.parameters()} == {torch.float32}
    same(network, found)


def test_it_exports_again_for_any_number_of_images(answers):
    network = build("test_vit")
    found = network_from_onnx(from_old_exporter(network, 17))
    again = torch.onnx.export(
        found, (images(2),), dynamo=True, dynamic_shapes=({0: torch.export.Dim("n")},),
        input_names=["images"], verbose=False,
    )  # fmt: skip
    for count in (1, 3):
        (got,) = answers(again.model_proto, {"images": images(count).numpy()})
        np.testing.assert_allclose(got, network(images(count)).detach(), atol=1e-4)


def two_heads() -> onnx.ModelProto:
    weight = numpy_helper.from_array(np.eye(3, 4, dtype=np.float32), "weight")
    nodes = [
        helper.make_node("GlobalAveragePool", ["images"], ["mean"]),
        helper.make_node("Flatten", ["mean"], ["features"]),
        helper.make_node("MatMul", ["features", "weight"], ["logits"]),
        helper.make_node("NonMaxSuppression", ["boxes", "logits"], ["chosen"]),
    ]
    graph = helper.make_graph(
        nodes,
        "heads",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["n", 3, 8, 8])],
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, None)
            for name in ("logits", "chosen")
        ],
        [weight, numpy_helper.from_array(np.zeros((1, 4), np.float32), "boxes")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])


def test_several_outputs_ask_for_a_name():
    with pytest.raises(TeacherError, match=r"2 outputs \(logits, chosen\); name the one"):
        network_from_onnx(two_heads())


def test_only_what_the_named_output_needs_is_computed():
    network = network_from_onnx(two_heads(), output="logits")
    assert network(torch.ones(2, 3, 8, 8)).shape == (2, 4)
    assert network.operators == {"GlobalAveragePool": 1, "Flatten": 1, "MatMul": 1}
    assert network_from_onnx(two_heads(), output="features")(torch.ones(2, 3, 8, 8)).shape == (2, 3)


def test_an_output_that_is_not_there_is_named():
    with pytest.raises(TeacherError, match="no value 'probabilities'"):
        network_from_onnx(two_heads(), output="probabilities")


def test_several_inputs_are_refused():
    model = two_heads()
    del model.graph.initializer[0]
    port = helper.make_tensor_value_info("weight", TensorProto.FLOAT, [3, 4])
    model.graph.input.append(port)
    with pytest.raises(TeacherError, match=r"2 inputs \(images, weight\)"):
        network_from_onnx(model, output="logits")


def test_what_does_not_fit_is_found_before_an_image_is_computed():
    model = two_heads()
    model.graph.initializer[0].CopyFrom(
        numpy_helper.from_array(np.ones((7, 4), np.float32), "weight")
    )
    with pytest.raises(TeacherError, match=r"MatMul 'logits' cannot be computed"):
        network_from_onnx(model, output="logits")
