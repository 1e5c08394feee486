"""Quantizers against the literal formulas and against torch's own kernels."""

from __future__ import annotations

import pytest
import torch
from reference import gdfq

from cake_edge.errors import UsageMistake
from cake_edge.qat.fake_quant import ActivationQuantizer, WeightQuantizer, fake_quantize, grid


def drawn(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def test_the_reference_by_hand():
    assert gdfq.fake_quantize(0.74, 0.5, 3, 0, 7) == 0.5
    assert gdfq.fake_quantize(9.0, 0.5, 3, 0, 7) == 2.0
    assert [gdfq.value_gradient(v, 0.5, 3, 0, 7) for v in (0.74, 9.0)] == [1, 0]
    assert gdfq.step_gradient(0.75, 0.5, 3, 0, 7) == pytest.approx(2 - 1.5)
    assert [gdfq.step_gradient(v, 0.5, 3, 0, 7) for v in (9.0, -9.0)] == [4, -3]
    assert gdfq.asymmetric_grid(-1.0, 2.0, 2) == (1.0, 1)
    # Mean 2 against 1, variance 1 against 3: 1 + 4; the second layer matches.
    layers = [[([1.0, 3.0], 1.0, 3.0)], [([0.0, 2.0], 1.0, 1.0)]]
    assert gdfq.batch_norm_statistics(layers) == pytest.approx(5 / 2)


@pytest.mark.parametrize("bits", range(2, 9))
def test_a_signed_grid_is_symmetric_and_an_unsigned_one_has_every_level(bits):
    low, high = grid(bits, signed=True)
    assert low == -high
    assert high - low == 2**bits - 2
    assert grid(bits, signed=False) == (0, 2**bits - 1)


@pytest.mark.parametrize("bits", [1, 9])
def test_other_bits_are_refused(bits):
    with pytest.raises(UsageMistake, match=f"{bits} bits are asked for; .* 2 to 8"):
        ActivationQuantizer(bits)


@pytest.mark.parametrize(("zero", "low", "high"), [(0, 0, 15), (5, 0, 15), (0, -3, 3)])
@pytest.mark.parametrize("learned", [True, False])
def test_values_and_gradients_are_those_of_the_formulas(zero, low, high, learned):
    values = drawn(60).requires_grad_()
    step = torch.tensor(0.3, requires_grad=learned)
    weights = drawn(60).flip(0)
    given = fake_quantize(values, step, torch.tensor(zero, dtype=torch.int32), low, high)
    (given * weights).sum().backward()
    rest = (0.3, zero, low, high)
    plain = values.detach().tolist()
    wanted = [gdfq.fake_quantize(v, *rest) for v in plain]
    assert given.tolist() == pytest.approx(wanted, abs=1e-6)
    passed = [
        w * gdfq.value_gradient(v, *rest) for v, w in zip(plain, weights.tolist(), strict=True)
    ]
    assert values.grad.tolist() == pytest.approx(passed)
    assert 0 < sum(p == 0 for p in passed) < 60  # both sorts occur
    if learned:
        moved = sum(
            w * gdfq.step_gradient(v, *rest) for v, w in zip(plain, weights.tolist(), strict=True)
        )
        assert float(step.grad) == pytest.approx(moved * gdfq.step_factor(60, high), rel=1e-4)
    else:
        assert step.grad is None


def test_each_channel_learns_its_own_step():
    values, step = drawn(3, 2, 2, 2), torch.tensor([0.1, 0.2, 0.4], requires_grad=True)
    zero = torch.zeros(3, dtype=torch.int32)
    fake_quantize(values, step, zero, -3, 3).sum().backward()
    for channel, size in enumerate((0.1, 0.2, 0.4)):
        inside = values[channel].flatten().tolist()
        slope = sum(gdfq.step_gradient(v, size, 0, -3, 3) for v in inside)
        wanted = slope * gdfq.step_factor(8, 3)
        assert float(step.grad[channel]) == pytest.approx(wanted, rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_weights_are_rounded_as_by_torch_per_channel(bits):
    weight, quantizer = drawn(4, 3, 3, 3), WeightQuantizer(4, bits)
    top = 2 ** (bits - 1) - 1
    quantizer.step.data = weight.abs().amax((1, 2, 3)) / top
    wanted = torch.fake_quantize_per_channel_affine(
        weight, quantizer.step.data, torch.zeros(4, dtype=torch.int32), 0, -top, top
    )
    assert torch.equal(quantizer(weight), wanted)
    whole = quantizer.whole(weight)
    assert whole.dtype == torch.int8
    assert int(whole.abs().max()) == top
    torch.testing.assert_close(whole * quantizer.step.data.view(-1, 1, 1, 1), wanted)


@pytest.mark.parametrize(("lowest", "highest"), [(-1.0, 3.0), (-0.3, 0.1), (-2.0, 0.0)])
def test_an_activations_grid_holds_zero_and_its_range(lowest, highest):
    quantizer = ActivationQuantizer(4)
    quantizer.set_range(lowest, highest)
    step, zero = gdfq.asymmetric_grid(lowest, highest, 4)
    assert float(quantizer.step) == pytest.approx(step)
    assert int(quantizer.zero_point) == zero
    assert float(quantizer(torch.tensor(0.0))) == 0
    ends = quantizer(torch.tensor([lowest, highest]))
    assert ends.tolist() == pytest.approx([lowest, highest], abs=step / 2 + 1e-6)


def test_values_that_are_never_below_zero_are_unsigned():
    quantizer = ActivationQuantizer(3)
    quantizer.set_range(0.5, 7.0)
    assert int(quantizer.zero_point) == 0
    assert quantizer(torch.arange(8.0)).tolist() == list(range(8))


def test_a_range_of_nothing_gives_zeros_not_nan():
    quantizer = ActivationQuantizer(4)
    quantizer.set_range(0.0, 0.0)
    assert quantizer(torch.zeros(3)).tolist() == [0, 0, 0]


def test_a_quantizer_that_is_off_passes_values_on():
    quantizer = ActivationQuantizer(2)
    quantizer.enabled = False
    values = drawn(5)
    assert quantizer(values) is values
