import pytest
import timm
import torch

import benchmarks.paper.networks  # noqa: F401  # tells timm their names
from benchmarks.paper.networks import ResNet20

NAMES = {
    "cake_lenet5": {"divisor": 2},
    "cake_mlp": {"width": 128},
    "cake_cnn": {"width": 8},
    "cake_small_resnet": {"width": 8},
    "cake_small_vit": {"depth": 2},
    "cake_resnet20": {"width": 8},
}


def made(name, channels, **arguments):
    return timm.create_model(name, in_chans=channels, num_classes=10, **arguments).eval()


def size(network):
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", [*NAMES, "cake_cifar_resnet18"])
def test_timm_makes_it_by_name_and_it_answers_ten_logits_an_image(name, channels):
    assert timm.is_model(name)
    network = made(name, channels)
    with torch.no_grad():
        assert network(torch.zeros(2, channels, 32, 32)).shape == (2, 10)


@pytest.mark.parametrize(("name", "arguments"), NAMES.items())
def test_the_student_is_smaller_than_its_teacher(name, arguments):
    assert size(made(name, 1, **arguments)) < 0.6 * size(made(name, 1))


def test_lenet_has_the_weights_of_the_original():
    # 6, 16 and 120 maps by kernels of 5, then 84 and 10: 61 706 on one channel.
    assert size(made("cake_lenet5", 1)) == 61_706


def test_resnet20_has_the_weights_of_the_paper():
    # He et al., table 6: 0.27 million.
    assert size(ResNet20()) == 269_722


@pytest.mark.parametrize(
    ("name", "original"), [("cake_cifar_resnet18", "resnet18"), ("cake_cifar_resnet34", "resnet34")]
)
def test_the_stem_for_small_images_keeps_their_size_and_is_all_that_differs(name, original):
    network, timms = made(name, 3), made(original, 3)
    with torch.no_grad():
        maps = network.forward_features(torch.zeros(1, 3, 32, 32))
    # Three strides are left of timm's five.
    assert maps.shape == (1, 512, 4, 4)
    assert size(timms) - size(network) == 64 * 3 * (7 * 7 - 3 * 3)
    assert type(network) is type(timms)


def test_a_block_that_halves_the_image_keeps_what_it_had_in_the_middle_channels():
    network = ResNet20(width=4).eval()
    block = network.layer2[0]
    torch.nn.init.zeros_(block.bn2.weight)
    maps = torch.rand(1, 4, 8, 8)
    with torch.no_grad():
        out = block(maps)
    torch.testing.assert_close(out[:, 2:6], maps[:, :, ::2, ::2])
    assert not out[:, :2].any()
    assert not out[:, 6:].any()
