"""Outputs of small convolutional generators with random weights.

An untrained generator makes pictures with structure on every scale and none of it designed; they
teach networks better than noise does (Baradad et al., "Learning to see by looking at noise",
NeurIPS 2021, whose networks have the shape of StyleGAN; these are far smaller). Every few images
come from a network of their own, whose weights are drawn with them.
"""

from __future__ import annotations

import torch
from torch.nn import functional

from cake_edge.priors.base import in_blocks, uniform
from cake_edge.priors.exposure import colour_mixing, exposed, hardened
from cake_edge.spec import ImageSpec

__all__ = ["random_network"]

IMAGES = 4
"""Images a network."""
FEATURES = 8
COARSEST = 4  # pixels of the shorter side, where a network starts
LEAK = 0.2
GAIN = (2 / (1 + LEAK**2)) ** 0.5  # what a kink takes from the magnitude (He et al., 2015)


def random_network(count: int, spec: ImageSpec, random: torch.Generator) -> torch.Tensor:
    """Returns `count` outputs of random generators, [count, C, H, W], in the normalised space."""
    return in_blocks(_draw, count, spec, random)


def _draw(count: int, spec: ImageSpec, random: torch.Generator) -> torch.Tensor:
    networks = -(-count // IMAGES)
    sizes = _sizes(spec.height, spec.width)
    # All networks at once: each is a group of the channels, and runs on IMAGES codes.
    features = _normal((IMAGES, networks * FEATURES, *sizes[0]), random)
    for size in sizes[1:]:
        # With the margin that the convolution takes: what is padded would show as a frame.
        margin = (size[0] + 2, size[1] + 2)
        features = functional.interpolate(features, margin, mode="bilinear", align_corners=False)
        features = _layer(features, networks, random)
    # The images of one network stand together, and the last one may make fewer.
    split = features.view(IMAGES, networks, FEATURES, -1).transpose(0, 1).flatten(0, 1)[:count]
    split = split - split.mean(2, keepdim=True)
    mixing = colour_mixing(count, spec.channels, FEATURES, random)
    pictures = torch.bmm(mixing, split).view(count, *spec.input_size)
    return exposed(hardened(pictures, random), random)


def _sizes(height: int, width: int) -> list[tuple[int, int]]:
    """Heights and widths from the coarsest to the full one, each about double the one before."""
    sizes = [(height, width)]
    while min(sizes[0]) >= 2 * COARSEST:
        sizes.insert(0, (-(-sizes[0][0] // 2), -(-sizes[0][1] // 2)))
    return sizes


def _layer(features: torch.Tensor, networks: int, random: torch.Generator) -> torch.Tensor:
    """A convolution with bias and fresh detail, and a kink; magnitudes stay what they were."""
    channels = networks * FEATURES
    weight = _normal((channels, FEATURES, 3, 3), random) * (GAIN / (FEATURES * 9) ** 0.5)
    bias = _normal((channels,), random) * 0.5
    features = functional.conv2d(features, weight, bias, groups=networks)
    # What is finer than the coarse codes: some networks are smooth, others grained.
    detail = _normal((len(features), 1, *features.shape[2:]), random)
    strength = uniform(0, 1, (networks, 1), random) ** 4
    strength = (strength * _normal((networks, FEATURES), random)).view(1, channels, 1, 1)
    features.addcmul_(detail, strength)
    return functional.leaky_relu_(features, LEAK)


def _normal(shape: tuple[int, ...], random: torch.Generator) -> torch.Tensor:
    return torch.randn(shape, generator=random, device=random.device)
