"""How good a student is, said without any data.

Agreement with the teacher on images that no training drew: fresh images of the default prior, and
images of families that the pool does not start from. The first says how well the student learned
what it was shown; the others how far that reaches. Neither is the accuracy on real images.
"""

from __future__ import annotations

import torch
from torch import nn

from cake_edge.priors import PRIORS, Prior, structured
from cake_edge.samplers.base import judge
from cake_edge.samplers.optimise import balanced_selection
from cake_edge.seeding import derive_seed, generator
from cake_edge.spec import decisions
from cake_edge.teachers.frozen import FrozenTeacher

__all__ = ["FAMILIES", "HeldOut", "agreement_by_family", "agreement_on_fresh_images"]

FAMILIES = ("spectrum", "gratings", "random-network")
"""Priors that the default mixture has nothing of."""
SMALL = 64 * 64
"""Pixels up to which an image is cheap to look at."""
MANY, FEW = 2048, 256
OVERSAMPLE = 4
"""Images drawn for one that is kept where the classes are to be even."""
BATCH = 256


def agreement_on_fresh_images(student: nn.Module, teacher: FrozenTeacher, seed: int) -> float:
    """Returns the percent of decisions on fresh images of the default prior that are alike."""
    random = generator(derive_seed(seed, "held out"), "prior", device=teacher.device)
    images = structured(_count(teacher), teacher.spec, random)
    return _alike(student, teacher, images, _decided(teacher, images))


def agreement_by_family(
    student: nn.Module, teacher: FrozenTeacher, prior: str | None, seed: int
) -> dict[str, float]:
    """Returns the percent of like decisions on each family that the pool does not start from.

    What the teacher sees in a family may be one class for the most part, on which any student would
    agree: of four images drawn the one is kept that makes the classes most even.

    Args:
        prior: where the pool's images start; None where that is not known.
    """
    if prior == "broad":
        return {}
    found = {}
    for name in FAMILIES:
        if name != prior:
            random = generator(derive_seed(seed, "held out"), name, device=teacher.device)
            images = _even(PRIORS[name], teacher, random)
            found[name] = _alike(student, teacher, images, _decided(teacher, images))
    return found


class HeldOut:
    """Images that no training draws, to look at again and again while one goes on.

    None of them is among those that `agreement_on_fresh_images` and `agreement_by_family` see.
    """

    def __init__(self, teacher: FrozenTeacher, prior: str | None, seed: int) -> None:
        """Draws the images: of the default prior, and of families the pool does not start from."""
        seed = derive_seed(seed, "stopping")
        random = generator(seed, "prior", device=teacher.device)
        families = [] if prior == "broad" else [name for name in FAMILIES if name != prior]
        images = [structured(_count(teacher), teacher.spec, random)] + [
            _even(PRIORS[name], teacher, generator(seed, name, device=teacher.device))
            for name in families
        ]
        self._sets = [(shown, _decided(teacher, shown)) for shown in images]
        self._teacher = teacher

    def agreement(self, student: nn.Module) -> float:
        """Returns the percent of like decisions, every family weighing the same."""
        found = [_alike(student, self._teacher, *pair) for pair in self._sets]
        return sum(found) / len(found)


def _count(teacher: FrozenTeacher) -> int:
    return MANY if teacher.spec.height * teacher.spec.width <= SMALL else FEW


def _even(prior: Prior, teacher: FrozenTeacher, random: torch.Generator) -> torch.Tensor:
    """As many images as `_count` says, the teacher's classes as even as they can be."""
    count = _count(teacher)
    images = prior(OVERSAMPLE * count, teacher.spec, random)
    return images[balanced_selection(judge(teacher, images, BATCH).argmax(1), count)]


def _decided(teacher: FrozenTeacher, images: torch.Tensor) -> torch.Tensor:
    found: torch.Tensor = decisions(judge(teacher, images, BATCH), teacher.spec.head)
    return found


def _alike(
    student: nn.Module, teacher: FrozenTeacher, images: torch.Tensor, wanted: torch.Tensor
) -> float:
    head = teacher.spec.head
    student = student.to(teacher.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    with torch.no_grad():
        given = torch.cat([decisions(student(part), head) for part in images.split(BATCH)])
    return 100 * float((given == wanted).double().mean())
