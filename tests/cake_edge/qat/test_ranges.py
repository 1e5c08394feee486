"""Where grids lie before training."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from cake_edge.errors import NumericsError
from cake_edge.qat.convert import fake_quantized, weight_quantizer
from cake_edge.qat.ranges import DECAY, calibrate


def converted(bits: int = 3) -> nn.Module:
    network = nn.Sequential(nn.Flatten(), nn.Linear(16, 8))
    random = torch.Generator().manual_seed(0)
    network[1].weight.data.normal_(generator=random)
    network[1].weight.data[2] = 0
    example = torch.zeros(1, 1, 4, 4)
    return fake_quantized(network, example, weight_bits=bits, activation_bits=bits,
                          edge_bits=bits).network  # fmt: skip


def spread(highest: float, seed: int = 0) -> torch.Tensor:
    values = torch.randn(32, 1, 4, 4, generator=torch.Generator().manual_seed(seed)).clamp(-2, 2)
    values[0, 0, 0, 0] = highest
    return values


def test_min_max_is_a_moving_average_of_extremes():
    network = converted()
    calibrate(network, [spread(5.0), spread(9.0)], "min-max")
    quantizer = network[1].input_quantizer
    high, low = 5 + (1 - DECAY) * 4, -2.0
    assert float(quantizer.step) == pytest.approx((high - low) / 7)
    weight = network[1].parametrizations["weight"].original.detach()
    wanted = weight.abs().amax(1) / 3
    wanted[2] = 1 / 3
    torch.testing.assert_close(weight_quantizer(network[1]).step.detach(), wanted)


def test_the_least_error_is_no_greater_and_cuts_an_outlier_off():
    widest, best = converted(), converted()
    batch = spread(40.0)
    calibrate(widest, [batch], "min-max")
    calibrate(best, [batch], "least-error")
    pairs = [(network[1].input_quantizer, batch, 20.0) for network in (widest, best)]
    errors = [float((quantizer(v) - v).square().sum()) for quantizer, v, _ in pairs]
    assert errors[1] < errors[0]
    original = best[1].parametrizations["weight"].original
    by_network = [
        (weight_quantizer(n[1])(original) - original).square().sum(1) for n in (widest, best)
    ]
    assert (by_network[1] <= by_network[0]).all()
    assert (by_network[1] < by_network[0]).any()


def test_nothing_is_quantized_while_ranges_are_found():
    network = nn.Sequential(nn.Flatten(), nn.Linear(16, 16, bias=False), nn.Linear(16, 2))
    nn.init.eye_(network[1].weight)
    found = fake_quantized(network, torch.zeros(1, 1, 4, 4), weight_bits=2, activation_bits=2,
                           edge_bits=2).network  # fmt: skip
    calibrate(found, [spread(3.0)], "min-max")
    assert float(found[2].input_quantizer.step) == pytest.approx((3 + 2) / 3)


def test_numbers_that_are_none_are_refused():
    with pytest.raises(NumericsError, match="the input of 1 reaches from nan"):
        calibrate(converted(), [torch.full((2, 1, 4, 4), torch.nan)], "min-max")
