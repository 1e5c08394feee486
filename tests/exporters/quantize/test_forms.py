from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch
from torch import nn

from cake_edge.networks import build_network
from cake_edge.spec import ImageSpec
from exporters.artifact import ModelCard
from exporters.onnx_export import export_onnx
from exporters.quantize import TARGETS
from exporters.quantize.forms import in_form_of, products_as_gemm, stem_of_four
from exporters.quantize.graph import prepare, read_float_model
from exporters.quantize.judge import logits_of
from exporters.quantize.ort_arm import ORT_ARM
from exporters.quantize.ort_x86 import ORT_X86
from exporters.quantize.tensorrt import TENSORRT


class Linears(nn.Module):
    """Products with and without a bias, two of one tensor, over tokens of an image."""

    def __init__(self):
        super().__init__()
        self.patches = nn.Conv2d(3, 8, 16, 16)
        self.norm = nn.LayerNorm(8)
        self.first = nn.Linear(8, 12)
        self.second = nn.Linear(8, 12, bias=False)
        self.head = nn.Linear(12, 4)

    def forward(self, images):
        tokens = self.norm(self.patches(images).flatten(2).transpose(1, 2))
        mixed = torch.tanh(self.first(tokens)) * self.second(tokens)
        return self.head(mixed.mean(1))


def prepared(network, folder, size):
    spec = ImageSpec(
        channels=3, height=size, width=size, mean=(0.5,) * 3, std=(0.5,) * 3, classes=4
    )
    card = ModelCard(architecture="none", spec=spec, role="student", parent="ab" * 32)
    export_onnx(network.eval(), folder / "model.onnx", card)
    return prepare(read_float_model(folder / "model.onnx"))


@pytest.fixture(scope="module")
def linears(tmp_path_factory):
    torch.random.fork_rng()
    return prepared(Linears(), tmp_path_factory.mktemp("linears"), 64)


def operators(model):
    return Counter(node.op_type for node in model.graph.node)


def batches(model, count=3):
    sizes = [size.dim_value for size in model.graph.input[0].type.tensor_type.shape.dim[1:]]
    random = np.random.default_rng(0)
    return [random.standard_normal((count, *sizes), dtype=np.float32)]


def assert_same_logits(one, two):
    given = logits_of(two, lambda: batches(one))
    wanted = logits_of(one, lambda: batches(one))
    np.testing.assert_allclose(given, wanted, atol=1e-4 * np.abs(wanted).max())


def test_a_product_takes_its_bias_along(linears):
    formed = products_as_gemm(linears)
    before, after = operators(linears), operators(formed)
    assert before["MatMul"] == 2
    assert after["MatMul"] == 0
    assert after["Gemm"] == before["Gemm"] + 2
    assert after["Add"] == before["Add"] - 1
    names = {node.name for node in formed.graph.node}
    assert {node.name for node in linears.graph.node if node.op_type == "MatMul"} <= names
    assert_same_logits(linears, formed)


def test_two_products_of_one_tensor_share_its_rows(linears):
    formed = products_as_gemm(linears)
    products = [
        node
        for node in formed.graph.node
        if node.op_type == "Gemm" and node.input[0].endswith("_rows")
    ]
    assert len(products) == 2
    assert products[0].input[0] == products[1].input[0]


def test_products_of_activations_stay(tmp_path):
    network = build_network(
        "test_vit", channels=3, classes=4, arguments={"img_size": 64, "patch_size": 16}
    )
    model = prepared(network, tmp_path, 64)
    formed = products_as_gemm(model)
    constants = {tensor.name for tensor in formed.graph.initializer}
    left = [node for node in formed.graph.node if node.op_type == "MatMul"]
    assert left
    assert not any(constants.intersection(node.input) for node in left)
    assert_same_logits(model, formed)


def test_the_stem_gets_a_fourth_channel_of_zeros(linears):
    formed = stem_of_four(linears)
    stem = next(node for node in formed.graph.node if node.op_type == "Conv")
    weight = next(one for one in formed.graph.initializer if one.name == stem.input[1])
    assert list(weight.dims) == [8, 4, 16, 16]
    assert operators(formed)["Pad"] == 1
    assert_same_logits(linears, formed)


def test_small_images_and_other_numbers_of_channels_keep_their_stem(tmp_path, float_file):
    small = prepared(Linears(), tmp_path, 32)
    grey = prepare(read_float_model(float_file))
    assert stem_of_four(small) == small
    assert stem_of_four(grey) == grey


def test_each_runtime_gets_the_form_it_is_fastest_with(linears):
    assert in_form_of(linears, TENSORRT) == linears
    assert operators(in_form_of(linears, ORT_ARM))["Pad"] == 0
    assert operators(in_form_of(linears, ORT_ARM))["MatMul"] == 0
    assert operators(in_form_of(linears, ORT_X86))["Pad"] == 1
    assert operators(in_form_of(linears, TARGETS["ort-x86-novnni"]))["Pad"] == 1
