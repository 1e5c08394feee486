"""Several teachers of the same classes as one: the mean of what they say.

The first says in which space the images are; the others are shown them in their own. Everything
that takes a teacher takes the average of several.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from cake_edge.errors import UsageMistake
from cake_edge.spec import ImageSpec
from cake_edge.teachers.adapters import Adapter
from cake_edge.teachers.frozen import FrozenTeacher

__all__ = ["MeanAnswer", "OtherInput", "average_of"]

logger = logging.getLogger(__name__)


class OtherInput(Adapter):
    """Shows images of the space `given` to a network that takes the space `own`."""

    factor: torch.Tensor
    offset: torch.Tensor

    def __init__(self, network: nn.Module, given: ImageSpec, own: ImageSpec) -> None:
        super().__init__(network)
        self.turned = given.colour != own.colour
        mean, std = _column(given.mean, self.turned), _column(given.std, self.turned)
        own_mean, own_std = _column(own.mean), _column(own.std)
        # The pixel p = x std + mean, normalised anew.
        self.register_buffer("factor", (std / own_std).float(), persistent=False)
        self.register_buffer("offset", ((mean - own_mean) / own_std).float(), persistent=False)
        self.normalised = given.colour == own.colour and (given.mean, given.std) == (
            own.mean,
            own.std,
        )
        here, there = (given.height, given.width), (own.height, own.width)
        self.size = None if here == there else there
        self.smaller = min(t / h for t, h in zip(there, here, strict=True)) < 1

    def forward(self, images: torch.Tensor) -> Any:
        """Returns what the network answers images [N, C, H, W]."""
        if self.turned:
            images = images.flip(1)
        if not self.normalised:
            images = images * self.factor + self.offset
        if self.size is not None:
            images = functional.interpolate(
                images,
                size=self.size,
                mode="bilinear",
                align_corners=False,
                antialias=self.smaller,
            )
        return self.network(images)


class MeanAnswer(Adapter):
    """The logits of the mean of several networks' probabilities.

    The mean of probabilities and not of logits, so that every network has one voice: one whose
    logits are ten times as large does not drown the others, and one that rules a class out does
    not forbid it. `network` is the first; students inherit from it.
    """

    def __init__(self, network: nn.Module, others: Sequence[nn.Module], head: str) -> None:
        super().__init__(network)
        self.others = nn.ModuleList(others)
        self.head = head

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Maps [N, C, H, W] to [N, classes]."""
        logits = torch.stack([f(images).float() for f in (self.network, *self.others)])
        if self.head == "sigmoid":
            # log(p / (1 - p)) of the mean p; the number of networks falls out.
            yes, no = functional.logsigmoid(logits), functional.logsigmoid(-logits)
            return yes.logsumexp(0) - no.logsumexp(0)
        answer = logits.log_softmax(2).logsumexp(0)
        # A softmax does not see the constant that this takes off each image. What compares single
        # logits of two images, as the contrast of CAKE does, finds them about zero as a network's.
        return answer - answer.mean(1, keepdim=True)


def average_of(members: Sequence[FrozenTeacher]) -> FrozenTeacher:
    """Returns the teacher whose probabilities are the mean of those of `members`.

    The spec is the first's: what the images are like, and what real images are resized to. Another
    normalisation or colour order is changed exactly on the way to each, another size by bilinear
    resizing.

    Args:
        members: two at least, on one device.

    Raises:
        UsageMistake: two are the same, or differ in classes, their names, what logits mean, or
            channels.
    """
    first, *others = members
    for place, member in enumerate(members):
        for other in members[:place]:
            _refuse_unlike(other, member)
    network = MeanAnswer(
        first.network, [_in_space(other, first.spec) for other in others], first.spec.head
    )
    labels = [member.spec.labels for member in members]
    if None in labels:
        unnamed = ", ".join(_name(m) for m in members if m.spec.labels is None)
        logger.warning(
            "%s: without class names; its n-th logit is taken for the n-th class", unnamed
        )
    return FrozenTeacher(
        network,
        dataclasses.replace(first.spec, labels=next((names for names in labels if names), None)),
        architecture=" + ".join(member.architecture for member in members),
        # A digest covers arguments, so that the members' own, with their mean and std, tell this
        # average from others.
        arguments={"average_of": [member.digest for member in members]},
        source="the average of " + ", ".join(_name(member) for member in members),
        origins=first.origins,
    )


def _in_space(member: FrozenTeacher, given: ImageSpec) -> nn.Module:
    own = member.spec
    alike = all(
        getattr(own, name) == getattr(given, name)
        for name in ("input_size", "mean", "std", "colour")
    )
    return member.network if alike else OtherInput(member.network, given, own).to(member.device)


def _refuse_unlike(one: FrozenTeacher, other: FrozenTeacher) -> None:
    """Refuses two whose answers have no mean."""
    mine, theirs = one.spec, other.spec
    pair = f"{_name(one)} and {_name(other)}"
    if one.digest == other.digest:
        raise UsageMistake(f"the teachers {pair} are the same one; name each once")
    if mine.classes != theirs.classes:
        raise UsageMistake(
            f"the teachers {pair} tell {mine.classes} and {theirs.classes} classes apart; averaged "
            "are teachers of the same classes: leave one out, or keep the same classes of both "
            "(classes, in a table of its own for each)"
        )
    if mine.head != theirs.head:
        raise UsageMistake(
            f"the logits of the teachers {pair} mean different things ({mine.head} and "
            f"{theirs.head}); averaged are teachers of one kind (say head, where it was not seen)"
        )
    if mine.channels != theirs.channels:
        raise UsageMistake(
            f"the teachers {pair} take images of {mine.channels} and {theirs.channels} channels; "
            "averaged are teachers that see the same: leave one out"
        )
    _refuse_other_names(pair, mine.labels, theirs.labels)


def _refuse_other_names(
    pair: str, mine: tuple[str, ...] | None, theirs: tuple[str, ...] | None
) -> None:
    if mine is None or theirs is None:
        return
    for place, (name, other) in enumerate(zip(mine, theirs, strict=True)):
        if name != other:
            raise UsageMistake(
                f"the teachers {pair} name their class {place} {name!r} and {other!r}; averaged "
                "are teachers of the same classes in one order: bring it about with classes, or, "
                "where two names mean one thing, give both the same labels"
            )


def _name(teacher: FrozenTeacher) -> str:
    return teacher.source or teacher.architecture


def _column(values: tuple[float, ...], turned: bool = False) -> torch.Tensor:
    ordered = values[::-1] if turned else values
    return torch.tensor(ordered, dtype=torch.float64).view(1, -1, 1, 1)
