"""What is seen of a teacher's network: its work, its normalisation layers, its gradients."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from cake_edge.losses.head import head_of
from cake_edge.priors import structured
from cake_edge.seeding import generator
from cake_edge.teachers.adapters import fixed_batch, innermost
from cake_edge.teachers.frozen import FrozenTeacher

__all__ = ["Gradient", "Norm", "input_gradient", "multiply_adds", "norm_layers"]

PROBES = 8
"""Images on which gradients are looked at."""
LAYER = re.compile(
    r"\w*(Batch|Layer|Group|Instance|Evo|Rms|RMS|Response|Simple)Norm(Act)?\w*"
    r"|FilterResponseNorm\w*|Affine"
)
"""Classes of normalisation layers, torch's, timm's and torchvision's."""
OPERATORS = {
    "batch_norm": "BatchNorm",
    "layer_norm": "LayerNorm",
    "group_norm": "GroupNorm",
    "instance_norm": "InstanceNorm",
    "rms_norm": "RMSNorm",
    "BatchNormalization": "BatchNorm",
    "LayerNormalization": "LayerNorm",
    "GroupNormalization": "GroupNorm",
    "InstanceNormalization": "InstanceNorm",
    "RMSNormalization": "RMSNorm",
}
"""What parts of torch's and of ONNX's names of operators compute, for networks without layers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Norm:
    """Normalisation layers of one kind."""

    kind: str
    """The class, or the operator."""
    count: int
    """How many there are."""
    running_statistics: bool
    """Whether they hold the mean and variance of what they saw in training."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gradient:
    """How gradients reach the input, on structured images with random target classes."""

    images: int
    """Images that were looked at."""
    reached: int
    """Images that get any gradient at all."""
    share: float
    """Share of all input values with a gradient that is not zero."""
    finite: bool
    """Whether all values are finite."""


def multiply_adds(teacher: FrozenTeacher) -> int | None:
    """Returns the multiply-adds of one image; None where torch's counter sees none.

    Convolutions, matrix products and attention are counted, as `torch.utils.flop_counter` does.
    """
    batch = fixed_batch(teacher.network) or 1
    images = torch.zeros((batch, *teacher.spec.input_size), device=teacher.device)
    with torch.no_grad():
        teacher(images)  # what a network does once for a new shape is not to be counted
        with FlopCounterMode(display=False) as counter:
            teacher(images)
    return counter.get_total_flops() // 2 // batch or None


def norm_layers(teacher: FrozenTeacher) -> tuple[Norm, ...]:
    """Returns the normalisation layers by kind, the most frequent first.

    A network out of a graph has no layers; its operators are counted in their place.
    """
    kinds: Counter[tuple[str, bool]] = Counter(
        (type(layer).__name__, _has_statistics(layer)) for layer in _layers(teacher)
    )
    if not kinds:
        kinds = _by_operator(teacher)
    return tuple(
        Norm(kind=kind, count=count, running_statistics=kept)
        for (kind, kept), count in kinds.most_common()
    )


def _layers(teacher: FrozenTeacher) -> Iterator[nn.Module]:
    """Layers that normalise themselves, not blocks that hold one."""
    for layer in teacher.network.modules():
        own = layer._parameters or layer._buffers or not any(layer.children())
        if LAYER.fullmatch(type(layer).__name__) and own:
            yield layer


def _has_statistics(layer: nn.Module) -> bool:
    return any(
        isinstance(getattr(layer, name, None), torch.Tensor)
        for name in ("running_mean", "running_var")
    )


class _Census(TorchDispatchMode):
    """Counts the operators that run."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.names: Counter[str] = Counter()

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        self.names[str(function)] += 1
        return function(*args, **(kwargs or {}))


def _by_operator(teacher: FrozenTeacher) -> Counter[tuple[str, bool]]:
    names = getattr(innermost(teacher.network), "operators", None)
    if not isinstance(names, Counter):
        names = _computed(teacher)
    kinds: Counter[tuple[str, bool]] = Counter()
    for name, count in names.items():
        for part, kind in OPERATORS.items():
            if part in str(name):
                kinds[kind, kind == "BatchNorm"] += count
    return kinds


def _computed(teacher: FrozenTeacher) -> Counter[str]:
    batch = fixed_batch(teacher.network) or 1
    images = torch.zeros((batch, *teacher.spec.input_size), device=teacher.device)
    census = _Census()
    with torch.no_grad():
        teacher(images)
        with census:
            teacher(images)
    return census.names


def input_gradient(teacher: FrozenTeacher) -> Gradient:
    """Looks at the gradient that samplers follow: of the loss towards random classes."""
    random = generator(0, "gradient", device=teacher.device)
    images = structured(PROBES, teacher.spec, random).requires_grad_()
    targets = torch.randint(
        teacher.spec.classes, (PROBES,), generator=random, device=teacher.device
    )
    with torch.enable_grad():
        loss = head_of(teacher.spec).towards(teacher(images), targets).sum()
        try:
            (found,) = torch.autograd.grad(loss, images, allow_unused=True)
        except torch.OutOfMemoryError:
            raise
        except RuntimeError:  # nothing was recorded, or has no way back
            found = None
    gradient = torch.zeros_like(images) if found is None else found
    return Gradient(
        images=PROBES,
        reached=int((gradient != 0).flatten(1).any(1).sum()),
        share=float((gradient != 0).float().mean()),
        finite=bool(torch.isfinite(gradient).all()),
    )
