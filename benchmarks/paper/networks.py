"""The networks of the published rows, known to timm by name once this module is imported.

`cake_lenet5` is LeNet-5 as RDSKD draws it (five layers, ReLU, max pooling), the half of it has half
the channels everywhere; `cake_resnet20` is He et al., arXiv 1512.03385, section 4.2, n = 3;
`cake_cifar_resnet18` and `cake_cifar_resnet34` are timm's with a stem for small images: one
convolution of 3 x 3, no stride and no pooling.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import torch
from timm.models import register_model
from timm.models.resnet import resnet10t, resnet18, resnet34
from timm.models.vision_transformer import VisionTransformer
from torch import nn
from torch.nn import functional

__all__ = ["LeNet5", "ResNet20"]


class LeNet5(nn.Module):
    """LeCun et al. 1998 for images of 32 x 32 pixels, with ReLU and max pooling."""

    def __init__(self, channels: int, classes: int, widths: tuple[int, int, int, int]) -> None:
        super().__init__()
        first, second, third, fourth = widths
        self.conv1 = nn.Conv2d(channels, first, 5)
        self.conv2 = nn.Conv2d(first, second, 5)
        self.conv3 = nn.Conv2d(second, third, 5)
        self.fc1 = nn.Linear(third, fourth)
        self.fc2 = nn.Linear(fourth, classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Returns logits [N, classes] of images [N, channels, 32, 32]."""
        maps = functional.max_pool2d(functional.relu(self.conv1(images)), 2)
        maps = functional.max_pool2d(functional.relu(self.conv2(maps)), 2)
        flat = functional.relu(self.conv3(maps)).flatten(1)
        logits: torch.Tensor = self.fc2(functional.relu(self.fc1(flat)))
        return logits


class MLP(nn.Module):
    """Two hidden layers over the pixels."""

    def __init__(self, pixels: int, classes: int, widths: tuple[int, int]) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Flatten(),
            nn.Linear(pixels, widths[0]),
            nn.ReLU(),
            nn.Linear(widths[0], widths[1]),
            nn.ReLU(),
        )
        self.head = nn.Linear(widths[1], classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Returns logits [N, classes] of images [N, C, H, W]."""
        logits: torch.Tensor = self.head(self.body(images))
        return logits


class CNN(nn.Module):
    """Four convolutions with max pooling, no normalisation."""

    def __init__(self, channels: int, classes: int, width: int) -> None:
        super().__init__()
        sizes = [channels, width, width, 2 * width, 2 * width]
        layers: list[nn.Module] = []
        for index, (before, after) in enumerate(pairwise(sizes)):
            layers += [nn.Conv2d(before, after, 3, padding=1), nn.ReLU()]
            if index % 2:
                layers.append(nn.MaxPool2d(2))
        self.body = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(4), nn.Flatten())
        self.head = nn.Linear(2 * width * 16, classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Returns logits [N, classes] of images [N, channels, H, W]."""
        logits: torch.Tensor = self.head(self.body(images))
        return logits


class Block(nn.Module):
    """Two convolutions, and a shortcut that subsamples and fills with zeros (option A)."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(before, after, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(after)
        self.conv2 = nn.Conv2d(after, after, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(after)
        self.stride, self.more = stride, after - before

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """Returns [N, after, H / stride, W / stride] of maps [N, before, H, W]."""
        rest = functional.relu(self.bn1(self.conv1(maps)))
        short = maps[:, :, :: self.stride, :: self.stride]
        half = self.more // 2
        short = functional.pad(short, (0, 0, 0, 0, half, self.more - half))
        return functional.relu(self.bn2(self.conv2(rest)) + short)


class ResNet20(nn.Module):
    """The CIFAR-10 network of He et al., arXiv 1512.03385, section 4.2, n = 3."""

    def __init__(self, width: int = 16, channels: int = 3, classes: int = 10) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.layer1 = nn.Sequential(*(Block(width, width, 1) for _ in range(3)))
        self.layer2 = _stage(width, 2 * width)
        self.layer3 = _stage(2 * width, 4 * width)
        self.linear = nn.Linear(4 * width, classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Returns logits [N, classes] of images [N, channels, H, W]."""
        maps = functional.relu(self.bn1(self.conv1(images)))
        maps = self.layer3(self.layer2(self.layer1(maps)))
        logits: torch.Tensor = self.linear(maps.mean((2, 3)))
        return logits


def _stage(before: int, after: int) -> nn.Sequential:
    return nn.Sequential(Block(before, after, 2), Block(after, after, 1), Block(after, after, 1))


def _own(given: dict[str, Any]) -> tuple[int, int, dict[str, Any]]:
    """Channels, classes and the rest of what `timm.create_model` hands on."""
    rest = {k: v for k, v in given.items() if not k.startswith("pretrained") and k != "cache_dir"}
    return rest.pop("in_chans", 3), rest.pop("num_classes", 1000), rest


def _register(name: str, build: Callable[..., nn.Module]) -> None:
    def create(**given: Any) -> nn.Module:
        channels, classes, rest = _own(given)
        return build(channels, classes, **rest)

    create.__name__, create.__module__ = name, __name__
    register_model(create)


def _lenet5(channels: int, classes: int, divisor: int = 1) -> nn.Module:
    widths = (6 // divisor, 16 // divisor, 120 // divisor, 84 // divisor)
    return LeNet5(channels, classes, widths)


def _mlp(channels: int, classes: int, size: int = 32, width: int = 256) -> nn.Module:
    return MLP(channels * size * size, classes, (width, width // 2))


def _cnn(channels: int, classes: int, width: int = 16) -> nn.Module:
    return CNN(channels, classes, width)


def _small_resnet(channels: int, classes: int, width: int = 16) -> nn.Module:
    widths = [width, 2 * width, 3 * width, 4 * width]
    network: nn.Module = resnet10t(
        in_chans=channels, num_classes=classes, channels=widths, stem_width=16
    )
    return network


def _small_vit(channels: int, classes: int, width: int = 64, depth: int = 4) -> nn.Module:
    return VisionTransformer(
        img_size=32, patch_size=4, in_chans=channels, num_classes=classes, embed_dim=width,
        depth=depth, num_heads=4, mlp_ratio=2.0, class_token=False, global_pool="avg",
    )  # fmt: skip


def _resnet20(channels: int, classes: int, width: int = 16) -> nn.Module:
    return ResNet20(width, channels, classes)


def _small_stem(build: Callable[..., nn.Module]) -> Callable[..., nn.Module]:
    """Makes a network of timm's for images of 32 pixels, of which its own stem would leave 8."""

    def create(channels: int, classes: int) -> nn.Module:
        network = build(in_chans=channels, num_classes=classes)
        stem = nn.Conv2d(channels, 64, 3, 1, 1, bias=False)
        nn.init.kaiming_normal_(stem.weight, mode="fan_out", nonlinearity="relu")
        network.conv1, network.maxpool = stem, nn.Identity()
        return network

    return create


_register("cake_lenet5", _lenet5)
_register("cake_mlp", _mlp)
_register("cake_cnn", _cnn)
_register("cake_small_resnet", _small_resnet)
_register("cake_small_vit", _small_vit)
_register("cake_resnet20", _resnet20)
_register("cake_cifar_resnet18", _small_stem(resnet18))
_register("cake_cifar_resnet34", _small_stem(resnet34))
