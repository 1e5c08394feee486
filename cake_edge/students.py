"""Students: timm networks of a size that suits the teacher's images.

A student of the teacher's own family can start from a selection of the teacher's weights (Xu et
al., "Initializing Models with Larger Ones", arXiv 2311.18823): in every tensor the elements at
evenly spaced places, the same places wherever the widths are the same, so that what belongs
together stays together.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import timm
import torch
from torch import nn

from cake_edge.errors import UsageMistake, near_names
from cake_edge.networks import build_network
from cake_edge.spec import ImageSpec
from cake_edge.teachers.adapters import innermost
from cake_edge.teachers.subset import subset_of

__all__ = ["STUDENTS", "StudentConfig", "build_student", "inherit_weights"]


@dataclass(frozen=True, slots=True, kw_only=True)
class StudentConfig:
    """Which network is trained."""

    name: str = "small-resnet"
    """A name of `STUDENTS`, or any timm architecture."""
    arguments: Mapping[str, Any] = field(default_factory=dict)
    """Keyword arguments of `timm.create_model`, over those of the preset."""


STUDENTS: dict[str, tuple[str, dict[str, Any]]] = {
    "tiny-resnet": ("resnet10t", {"channels": [8, 16, 32, 64], "stem_width": 16}),
    "small-resnet": ("resnet10t", {"channels": [24, 32, 64, 96], "stem_width": 16}),
    "medium-resnet": ("resnet10t", {"channels": [24, 48, 96, 192], "stem_width": 16}),
    "small-mobile": ("mobilenetv3_small_050", {}),
}
"""Preset -> (timm architecture, its arguments). Narrower stems than 16 lose by INT8 on x86."""


def build_student(
    config: StudentConfig, spec: ImageSpec, *, seed: int
) -> tuple[nn.Module, str, dict[str, Any]]:
    """Returns (network with seeded weights, timm's name, its arguments).

    Raises:
        UsageMistake: timm does not know the name, refuses the arguments, or what it builds is no
            classifier of such images.
    """
    architecture, preset = STUDENTS.get(config.name, (config.name, {}))
    if not timm.is_model(architecture.partition(".")[0]):
        near = near_names(config.name, [*STUDENTS, *timm.list_models()])
        raise UsageMistake(
            f"there is no student {config.name!r}{near}; allowed: {', '.join(STUDENTS)}, and "
            "every architecture of timm"
        )
    arguments = {**preset, **config.arguments}
    for given, value in (("in_chans", spec.channels), ("num_classes", spec.classes)):
        if given in arguments:
            raise UsageMistake(
                f"{given} is given to the student {config.name}, which takes it from the teacher "
                f"({value}); leave it out"
            )
    network = build_network(
        architecture,
        channels=spec.channels,
        classes=spec.classes,
        arguments=arguments,
        seed=seed,
    )
    _check_answer(network, config.name, spec)
    return network, architecture, arguments


def _check_answer(network: nn.Module, name: str, spec: ImageSpec) -> None:
    """Shows the network two images: better now than after hours of synthesis."""
    network.eval()
    try:
        with torch.no_grad():
            logits = network(torch.zeros(2, *spec.input_size))
    except (RuntimeError, ValueError, AssertionError, TypeError) as error:
        size = spec.height if spec.height == spec.width else [spec.height, spec.width]
        raise UsageMistake(
            f"the student {name!r} does not take the teacher's images of shape "
            f"{list(spec.input_size)} ({error}); name a convolutional one, or try the argument "
            f"img_size={size}"
        ) from error
    if not isinstance(logits, torch.Tensor) or logits.shape != (2, spec.classes):
        given = list(logits.shape) if isinstance(logits, torch.Tensor) else type(logits).__name__
        raise UsageMistake(
            f"the student {name!r} answers two images with {given}, not with logits of shape "
            f"[2, {spec.classes}]; leave out the arguments that change its head"
        )
    network.train()


@torch.no_grad()
def inherit_weights(student: nn.Module, teacher: nn.Module) -> int:
    """Fills the student from evenly spaced elements of the teacher's tensors of the same name.

    Args:
        student: changed in place.
        teacher: a network, or one behind adapters. Where those leave some of its classes, the
            student's classifier takes the rows of these; that of "other" stays random.

    Returns:
        How many tensors were filled: 0 where the two are of different families. A tensor that is
        larger than the teacher's in some dimension keeps its random values.
    """
    network = innermost(teacher)
    if type(student) is not type(network):
        return 0
    subset, heads = subset_of(teacher), _head_tensors(student)
    source, filled = network.state_dict(), 0
    for name, tensor in student.state_dict().items():
        given, target = source.get(name), tensor
        if given is None or given.ndim != tensor.ndim:
            continue
        if subset is not None and name in heads and len(given) == subset.classes:
            given, target = given.index_select(0, subset.kept), tensor[: len(subset.kept)]
        if any(small > large for small, large in zip(target.shape, given.shape, strict=True)):
            continue
        for dimension, (small, large) in enumerate(zip(target.shape, given.shape, strict=True)):
            if small < large:
                places = torch.arange(small, device=given.device) * large // small
                given = given.index_select(dimension, places)
        target.copy_(given)
        filled += 1
    return filled


def _head_tensors(network: nn.Module) -> set[str]:
    """The names of the classifier's tensors; timm's networks say which part of them that is."""
    ask: Callable[[], Any] = getattr(network, "get_classifier", tuple)
    found = ask()
    heads = {id(head) for head in (found if isinstance(found, tuple) else (found,))}
    return {
        f"{place}.{name}"
        for place, module in network.named_modules()
        if id(module) in heads
        for name, _ in module.named_parameters()
    }
