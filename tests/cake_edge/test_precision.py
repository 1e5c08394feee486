import pytest
import torch

from cake_edge.errors import UsageMistake
from cake_edge.precision import check_precision, mixed, refuse_unsound

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("precision", "dtype"), [("float32", torch.float32), ("bfloat16", torch.bfloat16)]
)
def test_products_are_computed_in_the_precision_that_was_asked_for(precision, dtype):
    layer, images = torch.nn.Conv2d(3, 4, 3), torch.zeros(1, 3, 8, 8)
    with mixed(precision, CPU):
        assert layer(images).dtype == dtype
    assert layer(images).dtype == torch.float32
    assert layer.weight.dtype == torch.float32


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_what_is_changed_in_place_is_seen_changed(precision):
    """An optimiser changes weights and images while the context is open."""
    weight, shown = torch.eye(4).requires_grad_(), torch.randn(2, 4)
    with mixed(precision, CPU):
        first = shown @ weight
        with torch.autocast("cpu"):
            inner = shown @ weight
        weight.data.mul_(2)
        second = shown @ weight
        with torch.autocast("cpu"):
            later = shown @ weight
    assert torch.equal(second, 2 * first)
    assert torch.equal(later, 2 * inner)


def test_an_unknown_precision_is_refused_with_those_there_are():
    with pytest.raises(UsageMistake, match=r"'half'; allowed: float32, bfloat16"):
        check_precision("half")


def test_a_stride_over_one_pixel_is_refused_by_name():
    network = torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, 3, stride=2, padding=1),
        torch.nn.BatchNorm2d(4),
        torch.nn.Conv2d(4, 4, 3, stride=2, padding=1),
    )
    before = network[1].running_mean.clone()
    refuse_unsound(network, torch.ones(2, 3, 4, 4))
    with pytest.raises(UsageMistake, match="student's 2 strides over a map of one pixel"):
        refuse_unsound(network, torch.ones(2, 3, 2, 2))
    assert network.training
    assert torch.equal(network[1].running_mean, before)
