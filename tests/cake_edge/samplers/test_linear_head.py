import warnings
from dataclasses import replace

import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from cake_edge.onnx_network import network_from_onnx
from cake_edge.samplers.linear_head import head_weights
from cake_edge.seeding import generator
from cake_edge.teachers.adapters import (
    ChannelsLast,
    FixedBatch,
    LogitsOf,
    LogitsOfProbabilities,
    LogitsOfShares,
    TwoLogits,
)
from cake_edge.teachers.frozen import FrozenTeacher
from cake_edge.teachers.program_file import read_exported, read_torchscript
from cake_edge.teachers.subset import keep_classes


class Net(nn.Module):
    """A convolution and a head: linear, of one by one convolution, or of cosines."""

    def __init__(self, kind="linear", classes=4, seed=0):
        super().__init__()
        self.kind = kind
        self.stem = nn.Conv2d(1, 8, 3, stride=2, padding=1)
        self.wide = nn.Linear(8, classes)  # of the head's shape, and not the head
        self.back = nn.Linear(classes, 8)
        self.head = nn.Conv2d(8, classes, 1) if kind == "convolution" else nn.Linear(8, classes)
        random = generator(seed, "net")
        for weight in self.parameters():
            nn.init.normal_(weight, std=0.4, generator=random)

    def forward(self, images):
        features = self.stem(images).relu().mean((2, 3))
        features = self.back(self.wide(features).tanh())
        if self.kind == "convolution":
            return self.head(features[:, :, None, None]).flatten(1)
        if self.kind == "cosine":
            unit = nn.functional.normalize
            return 9 * nn.functional.linear(unit(features), unit(self.head.weight))
        if self.kind == "distance":
            return -(features[:, None] - self.head.weight).square().sum(2)
        logits = self.head(features)
        return {
            "softmax": logits.softmax,
            "sigmoid": lambda _: logits.sigmoid(),
            "mapping": lambda _: {"logits": logits},
        }.get(self.kind, lambda _: logits)(1)


def teacher_of(network, spec, classes=4):
    return FrozenTeacher(network, replace(spec, classes=classes), architecture="net")


@pytest.mark.parametrize("kind", ["linear", "convolution"])
def test_a_network_s_head_is_found(small_spec, kind):
    network = Net(kind)
    weights = head_weights(teacher_of(network, small_spec))
    assert torch.equal(weights, network.head.weight.detach().flatten(1))


@pytest.mark.parametrize("architecture", ["test_resnet", "test_vit", "test_byobnet"])
def test_it_is_what_timm_calls_the_classifier(make_teacher, colour_spec, architecture):
    teacher = make_teacher(architecture, spec=colour_spec)
    wanted = teacher.network.get_classifier().weight
    assert torch.equal(head_weights(teacher), wanted.detach())


@pytest.mark.parametrize(
    ("kind", "wrap"),
    [
        ("linear", lambda n: FixedBatch(n, 3)),
        ("linear", lambda n: FixedBatch(n, 1)),
        ("mapping", LogitsOf),
        ("softmax", LogitsOfProbabilities),
        ("softmax", lambda n: LogitsOfProbabilities(FixedBatch(n, 3))),
        ("sigmoid", LogitsOfShares),
        ("linear", lambda n: ChannelsLast(TakesChannelsLast(n))),
    ],
    ids=["three at a time", "one at a time", "mapping", "softmax", "both", "sigmoid", "last"],
)
def test_it_is_found_behind_adapters(small_spec, kind, wrap):
    network = Net(kind)
    weights = head_weights(teacher_of(wrap(network), small_spec))
    assert torch.equal(weights, network.head.weight.detach())


class TakesChannelsLast(nn.Module):
    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, images):
        return self.network(images.permute(0, 3, 1, 2))


class TwoHeads(nn.Module):
    def __init__(self):
        super().__init__()
        self.one, self.other = Net(), Net(seed=1)

    def forward(self, images):
        return (self.one(images) + self.other(images)) / 2


def test_one_logit_gives_two_opposite_vectors(small_spec):
    network = Net(classes=1)
    weights = head_weights(teacher_of(TwoLogits(network), small_spec, 2))
    own = network.head.weight.detach()
    assert torch.equal(weights, torch.cat([-own, own]) / 2)


@pytest.mark.parametrize("other", [False, True])
def test_of_some_classes_it_is_theirs(small_spec, other):
    network = Net()
    teacher = keep_classes(teacher_of(network, small_spec), ["2", "0"], other=other)
    own = network.head.weight.detach()
    wanted = [own[[2, 0]]] + ([own[[1, 3]].mean(0, keepdim=True)] if other else [])
    torch.testing.assert_close(head_weights(teacher), torch.cat(wanted))


@pytest.mark.parametrize("operators", ["Gemm", "MatMul and Add"])
def test_an_onnx_graph_s_head_is_found(small_spec, operators):
    random = torch.Generator().manual_seed(0)
    own, bias = torch.randn(4, 256, generator=random), torch.randn(4, generator=random)
    matrix = own if operators == "Gemm" else own.t().contiguous()
    constants = [numpy_helper.from_array(v.numpy(), n) for v, n in ((matrix, "w"), (bias, "b"))]
    nodes = [helper.make_node("Flatten", ["x"], ["f"], axis=1)]
    if operators == "Gemm":
        nodes += [helper.make_node("Gemm", ["f", "w", "b"], ["y"], transB=1)]
    else:
        nodes += [helper.make_node("MatMul", ["f", "w"], ["m"])]
        nodes += [helper.make_node("Add", ["m", "b"], ["y"])]
    graph = helper.make_graph(
        nodes, "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 1, 16, 16])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 4])],
        constants,
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    onnx.checker.check_model(model)
    torch.testing.assert_close(head_weights(teacher_of(network_from_onnx(model), small_spec)), own)


@pytest.mark.parametrize("program", ["torch.export", "TorchScript"])
def test_a_program_s_head_is_found(small_spec, tmp_path, program):
    network, path = Net().eval(), tmp_path / "program.pt2"
    images = torch.zeros(8, 1, 16, 16)
    if program == "torch.export":
        torch.export.save(torch.export.export(network, (images,)), path)
        read = read_exported(path)
    else:
        with warnings.catch_warnings():  # of torch, which would rather have the other
            warnings.simplefilter("ignore")
            torch.jit.save(torch.jit.trace(network, images), path)
        read = read_torchscript(path)
    teacher = teacher_of(FixedBatch(read, 8), small_spec)
    assert torch.equal(head_weights(teacher), network.head.weight.detach())


def test_of_cosines_it_is_the_unit_vectors(small_spec):
    network = Net("cosine")
    wanted = nn.functional.normalize(network.head.weight.detach())
    torch.testing.assert_close(head_weights(teacher_of(network, small_spec)), wanted)


@pytest.mark.parametrize("kind", ["distance", "two heads"])
def test_logits_that_are_no_product_have_no_such_head(small_spec, kind):
    network = TwoHeads() if kind == "two heads" else Net(kind)
    assert head_weights(teacher_of(network, small_spec)) is None
