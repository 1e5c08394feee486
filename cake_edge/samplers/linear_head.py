"""The weights of a teacher's last linear layer, whatever the teacher came as.

Timm's networks, ONNX graphs and exported programs keep them in different places, but all multiply
by them. So the products that torch computes for a few images are watched, and the one whose result
is the logits, but for a bias and a factor, is the head.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from cake_edge.seeding import generator
from cake_edge.spec import ImageSpec
from cake_edge.teachers.adapters import (
    Adapter,
    LogitsOfProbabilities,
    TwoLogits,
    fixed_batch,
    plain_answer,
)
from cake_edge.teachers.frozen import FrozenTeacher
from cake_edge.teachers.subset import ClassSubset

__all__ = ["head_weights"]

PROBES = 8
"""Images that are looked at."""
ALIKE = 1e-3
"""Largest difference from the logits, as a share of their spread."""
PRODUCTS = {"aten.mm.default": 1, "aten.addmm.default": 2, "aten.convolution.default": 1}
"""Where the weights stand among the arguments; linear layers and matrix products become these."""

Product = tuple[torch.Tensor, torch.Tensor]


def head_weights(teacher: FrozenTeacher) -> torch.Tensor | None:
    """Returns a vector for every class, [K, D], whose product with features gives its logit.

    Of one logit that stands for two classes, the vectors of the two logits -z / 2 and z / 2, which
    have the same softmax. Where classes were left out, "other" has the mean of theirs.

    Returns:
        None where the logits are no such product: they are distances, or the mean of two heads.
    """
    with torch.no_grad():
        weights = _of(teacher.network, teacher.spec, teacher.device)
    return None if weights is None else weights.float()


def _of(network: nn.Module, spec: ImageSpec, device: torch.device) -> torch.Tensor | None:
    if isinstance(network, ClassSubset):
        inner = _of(network.network, spec, device)
        if inner is None or not network.other:
            return None if inner is None else inner[network.kept]
        return torch.cat([inner[network.kept], inner[network.dropped].mean(0, keepdim=True)])
    if isinstance(network, TwoLogits):
        inner = _of(network.network, spec, device)
        return None if inner is None else torch.cat([-inner, inner]) / 2
    return _searched(network, spec, device)


def _searched(network: nn.Module, spec: ImageSpec, device: torch.device) -> torch.Tensor | None:
    """Watches one look at a few images, and takes the last product that is the logits."""
    random = generator(0, "head", device=device)
    images = torch.randn((PROBES, *spec.input_size), generator=random, device=device)
    watch = _Products()
    network(images[: fixed_batch(network) or PROBES])  # what is prepared once is not to be seen
    with watch:
        logits = plain_answer(network(images)).float()
    size = fixed_batch(network)
    calls = 1 if size is None else -(-PROBES // size)
    for weights, result in reversed(_joined(watch.found, calls)):
        # Where all but the probabilities is lost, so is one constant an image.
        loose = isinstance(network, LogitsOfProbabilities) or _has(network, LogitsOfProbabilities)
        if len(weights) == logits.shape[1] and _same(result[:PROBES].float(), logits, loose):
            return weights
    return None


def _has(network: nn.Module, kind: type[Adapter]) -> bool:
    return any(isinstance(module, kind) for module in network.modules())


def _joined(found: list[Product], calls: int) -> list[Product]:
    """Puts together what a network gave that was shown its images in equal parts."""
    each = len(found) // calls
    if calls == 1 or each * calls != len(found):
        return found
    return [
        (found[k][0], torch.cat([found[call * each + k][1] for call in range(calls)]))
        for k in range(each)
        if len({found[call * each + k][1].shape for call in range(calls)}) == 1
    ]


def _same(result: torch.Tensor, logits: torch.Tensor, loose: bool) -> bool:
    """Whether two [N, K] are the same but for a factor and a bias, or also a constant an image."""
    if result.shape != logits.shape:
        return False
    one, other = (values - values.mean(0) for values in (result, logits))
    if loose:
        one, other = (values - values.mean(1, keepdim=True) for values in (one, other))
    factor = (one * other).sum() / one.square().sum().clamp_min(1e-30)
    spread = other.abs().max()
    return bool(spread > 0 and (one * factor - other).abs().max() <= ALIKE * spread)


class _Products(TorchDispatchMode):
    """Keeps what could be a head: weights [K, D], and the result as [N, K]."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.found: list[Product] = []

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        result = function(*args, **(kwargs or {}))
        place = PRODUCTS.get(str(function))
        if place is not None:
            weights, flat = args[place], result.flatten(1)
            turned = weights.flatten(1) if function is _CONVOLUTION else weights.t()
            if turned.ndim == 2 and flat.shape[1] == len(turned):
                self.found.append((turned.clone(), flat.clone()))
        return result


_CONVOLUTION = torch.ops.aten.convolution.default
