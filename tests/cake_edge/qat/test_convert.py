"""Every weighted layer of timm's families is found, and nothing else changes."""

from __future__ import annotations

import copy

import pytest
import timm
import torch
from timm.layers.std_conv import ScaledStdConv2d, ScaledStdConv2dSame, StdConv2d, StdConv2dSame
from torch import nn
from torch.nn.utils import parametrizations

from cake_edge.errors import UsageMistake
from cake_edge.qat.convert import fake_quantized, float_mode, quantized_layers, weight_quantizer
from cake_edge.qat.ranges import calibrate


def images(count: int = 2, size: int = 32) -> torch.Tensor:
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(1))


def four_bits(network: nn.Module, **more: int) -> object:
    return fake_quantized(network, images(), weight_bits=4, activation_bits=3, **more)


@pytest.mark.parametrize(
    "name", ["test_resnet", "test_efficientnet", "test_vit", "test_nfnet", "test_mambaout"]
)
def test_with_quantizers_off_a_copy_answers_as_the_network(build, name):
    if not timm.is_model(name):
        pytest.skip(f"this timm has no {name}")
    network = build(name)
    before = copy.deepcopy(network.state_dict())
    found = four_bits(network)
    ours = {name for name, _ in quantized_layers(found.network)}
    weighted = [
        n for n, m in found.network.named_modules() if isinstance(m, (nn.Conv2d, nn.Linear))
    ]
    assert ours == {layer.name for layer in found.layers}
    assert ours | set(found.left_float) == set(weighted)
    with float_mode(found.network), torch.no_grad():
        torch.testing.assert_close(found.network(images()), network(images()), atol=1e-4, rtol=1e-3)
    assert all(torch.equal(before[key], value) for key, value in network.state_dict().items())


def test_batch_norms_are_folded_where_a_layer_feeds_them(build):
    resnet = four_bits(build("test_resnet"))
    norms = sum(isinstance(m, nn.BatchNorm2d) for m in build("test_resnet").modules())
    assert resnet.folded == norms
    assert not any(isinstance(m, nn.BatchNorm2d) for m in resnet.network.modules())
    assert four_bits(build("test_vit")).folded == 0


def test_a_batch_norm_whose_input_is_read_elsewhere_is_left():
    class Branches(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3)
            self.norm, self.other = nn.BatchNorm2d(4), nn.ReLU()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = self.conv(x)
            return (self.norm(x) + self.other(x)).mean((2, 3))

    assert four_bits(Branches().eval()).folded == 0


def test_a_fold_that_would_change_the_answer_is_not_made(caplog):
    class Hidden(nn.Module):
        """The convolution's output is read where no layer can be seen reading."""

        def __init__(self) -> None:
            super().__init__()
            self.conv, self.norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)
            self.norm.running_var.fill_(4.0)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = self.conv(x)
            return (self.norm(x) + 3 * x.abs()).mean((2, 3))

    assert four_bits(Hidden().eval()).folded == 0
    assert "folding batch norms changed the answers" in caplog.text


def test_the_layers_that_run_first_and_last_have_eight_bits(build):
    layers = four_bits(build("test_resnet")).layers
    assert (layers[0].name, layers[-1].name) == ("conv1.0", "fc")
    assert {(at.weight, at.activation) for at in (layers[0], layers[-1])} == {(8, 8)}
    assert {(at.weight, at.activation) for at in layers[1:-1]} == {(4, 3)}
    assert four_bits(build("test_resnet"), edge_bits=5).layers[0].weight == 5


@pytest.mark.parametrize("name", ["test_resnet", "test_efficientnet", "test_vit"])
def test_a_layer_computes_with_its_own_grids(build, name):
    network = four_bits(build(name)).network
    calibrate(network, [images()], "min-max")
    seen = {}
    assert list(quantized_layers(network))
    for at, layer in quantized_layers(network):
        layer.input_quantizer.register_forward_hook(
            lambda module, args, out, at=at: seen.__setitem__(at, out)
        )
    network(images())
    for at, layer in quantized_layers(network):
        assert len(seen[at].unique()) <= 2**layer.input_quantizer.bits
        widest = max(len(row.unique()) for row in layer.weight)
        assert widest <= 2 ** weight_quantizer(layer).bits - 1


@pytest.mark.parametrize("kind", [StdConv2d, StdConv2dSame, ScaledStdConv2d, ScaledStdConv2dSame])
def test_a_standardised_weight_is_kept_as_it_is_used(kind):
    network = nn.Sequential(
        kind(3, 6, kernel_size=3, stride=2), nn.ReLU(), nn.Flatten(), nn.LazyLinear(4)
    )
    network(images())
    found = four_bits(network.eval())
    assert not isinstance(found.network[0], kind)
    assert dict(found.network[0].named_parameters()).keys().isdisjoint({"gain"})
    with float_mode(found.network):
        torch.testing.assert_close(found.network(images()), network(images()))
    assert isinstance(network[0], kind)


def test_a_parametrized_network_is_left_whole():
    network = nn.Sequential(
        parametrizations.weight_norm(nn.Conv2d(3, 4, 3)), nn.Flatten(), nn.Linear(3600, 2)
    ).eval()
    wanted = network(images())
    found = four_bits(network)
    assert torch.equal(network(images()), wanted)
    with float_mode(found.network):
        torch.testing.assert_close(found.network(images()), wanted)


def test_a_layer_that_is_not_called_is_named():
    class Borrowed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.used, self.lent = nn.Linear(3, 4), nn.Linear(4, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return nn.functional.linear(self.used(x.mean((2, 3))), self.lent.weight)

    assert list(four_bits(Borrowed().eval()).left_float) == ["lent"]


def test_a_network_without_weighted_layers_is_refused():
    with pytest.raises(UsageMistake, match="nothing to quantize"):
        four_bits(nn.Flatten())
