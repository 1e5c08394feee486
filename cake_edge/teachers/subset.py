"""A teacher for some of its classes: the student learns these, and has a smaller head.

Without the class "other" the kept logits alone are left: their softmax is the teacher's
distribution given that the image shows one of the kept classes. With it one more logit,
log sum exp of those left out, has exactly the probability that they have together.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import torch
from torch import nn

from cake_edge.errors import UsageMistake, near_names
from cake_edge.spec import OTHER, ImageSpec
from cake_edge.teachers.adapters import Adapter
from cake_edge.teachers.frozen import FrozenTeacher

__all__ = ["ClassSubset", "keep_classes", "subset_of"]

NAME_OF_OTHER = "other"


class ClassSubset(Adapter):
    """Leaves of `network`'s logits those of `kept`, and puts "other" after them where asked."""

    kept: torch.Tensor
    dropped: torch.Tensor

    def __init__(self, network: nn.Module, kept: Sequence[int], classes: int, other: bool) -> None:
        super().__init__(network)
        dropped = [index for index in range(classes) if index not in set(kept)]
        self.register_buffer("kept", torch.tensor(kept, dtype=torch.int64), persistent=False)
        self.register_buffer("dropped", torch.tensor(dropped, dtype=torch.int64), persistent=False)
        self.classes, self.other = classes, other

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Maps [N, C, H, W] to [N, kept classes] or [N, kept classes + 1]."""
        logits: torch.Tensor = self.network(images)
        chosen = logits.index_select(1, self.kept)
        if not self.other:
            return chosen
        rest = logits.index_select(1, self.dropped).logsumexp(dim=1, keepdim=True)
        return torch.cat([chosen, rest], dim=1)


def keep_classes(teacher: FrozenTeacher, names: Sequence[str], *, other: bool) -> FrozenTeacher:
    """Returns the teacher for the classes `names` alone, in that order.

    Args:
        teacher: of all classes.
        names: class names of the teacher, or indices.
        other: whether one more class stands for all the rest.

    Raises:
        UsageMistake: a name or index is unknown, or stands for the same class as another; or
            "other" has no meaning: nothing is left out, or the labels do not exclude each other.
    """
    spec = teacher.spec
    kept = [_index(name, spec) for name in names]
    if len(set(kept)) < len(kept):
        raise UsageMistake(f"--classes {','.join(names)} names a class twice; name each once")
    if other and len(kept) == spec.classes:
        raise UsageMistake("--other has no meaning where --classes keeps all; leave it out")
    if other and spec.head == "sigmoid":
        raise UsageMistake(
            "--other has no meaning for a teacher whose labels do not exclude each other; "
            "leave it out"
        )
    # Without names the index, as it was asked for, is what a person knows the class by.
    named = (spec.labels[k] if spec.labels else str(k) for k in kept)
    elsewhere = spec.source_classes or range(spec.classes)
    chosen = dataclasses.replace(
        spec,
        classes=len(kept) + other,
        labels=(*named, *([NAME_OF_OTHER] if other else [])),
        source_classes=(*(elsewhere[k] for k in kept), *([OTHER] if other else [])),
    )
    selection = FrozenTeacher(
        ClassSubset(teacher.network, kept, spec.classes, other).to(teacher.device),
        chosen,
        architecture=teacher.architecture,
        arguments=teacher.arguments,
        source=f"{teacher.source}, {len(kept)} of {spec.classes} classes"
        + (" and other" if other else ""),
        origins={**teacher.origins, "classes": "a selection, as asked for"},
    )
    selection.matched = teacher.matched
    return selection


def subset_of(network: nn.Module) -> ClassSubset | None:
    """Returns the adapter of a teacher's that leaves out classes, if it has one."""
    while isinstance(network, Adapter):
        if isinstance(network, ClassSubset):
            return network
        network = network.network
    return None


def _index(name: str, spec: ImageSpec) -> int:
    labels = spec.labels or ()
    same = [str(index) for index, label in enumerate(labels) if label == name]
    if len(same) > 1:
        raise UsageMistake(
            f"--classes: the teacher has {len(same)} classes named {name!r}; "
            f"give the index of the one that is meant: {' or '.join(same)}"
        )
    if same:
        return int(same[0])
    if name.isdecimal() and int(name) < spec.classes:
        return int(name)
    said = f"{near_names(name, labels)}; its classes have names" if labels else ""
    raise UsageMistake(
        f"--classes: the teacher has no class {name!r}{said}; give names"
        f"{'' if labels else ' (with --labels FILE, since its file has none)'} or indices from 0 "
        f"to {spec.classes - 1}"
    )
