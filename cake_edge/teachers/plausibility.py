"""Which preprocessing a teacher was trained with, judged without data.

Structured images of nothing in particular are shown in each of the usual preprocessings. In the
right one a trained classifier tells more of them apart than in a wrong one: its answers are sure
of each image, and differ from image to image. Both at once is the mutual information between the
image and the answer, I = H(mean of p) - mean of H(p), in nats. Inputs that are 255 times too large
make logits large as well, and with them any answer sure, so the logits of each image are first
brought to one spread: the score sees which classes are preferred, not how loudly.

It finds gross faults, such as pixels of 0 to 255 where 0 to 1 are meant. Preprocessings that are
alike, such as imagenet and inception, it cannot tell apart; of a classifier of two or three classes
it can say nothing, as one that tells tables with lines from tables without finds neither in these
images; and the order of the colours it cannot see at all: the images are drawn alike in all
channels. benchmarks/preprocessing_check.py measures how it fares.
"""

from __future__ import annotations

import dataclasses
from dataclasses import asdict, dataclass
from typing import Any

import torch

from cake_edge.errors import NumericsError
from cake_edge.losses.head import head_of
from cake_edge.priors import structured
from cake_edge.seeding import generator
from cake_edge.spec import ImageSpec
from cake_edge.teachers.config import PRESETS
from cake_edge.teachers.frozen import FrozenTeacher

__all__ = ["IMAGES", "RATIO", "Plausibility", "Row", "check_preprocessing"]

IMAGES = 128
"""Images that are shown in every preprocessing."""
BATCH = 32
SPREAD = 2.0
"""Standard deviation to which the logits of an image are brought."""
RATIO = 1.3
"""A score this many times higher is a warning: more than was measured between a right preprocessing
and any other, less than between a right one and pixels of 0 to 255."""
FEWEST_CLASSES = 4
"""Of fewer classes made-up images may all belong to one: then the score means nothing."""
NOTHING = 0.01
"""Information below which answers hardly depend on the image, in nats."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What a teacher answers in one preprocessing."""

    name: str
    """A preset, or "as stated"."""
    stated: bool
    """Whether it is the one that the teacher is used with."""
    score: float
    """Mutual information of image and answer, logits of one spread; in nats."""
    information: float
    """The same of the answers as they are."""
    confidence: float
    """Mean probability of the most probable class."""
    decisions: int
    """Different classes that were most probable for some image."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plausibility:
    """The preprocessings compared, the best first."""

    images: int
    """Images that were shown in each."""
    rows: tuple[Row, ...]
    """One a preprocessing."""
    warning: str | None
    """What speaks against the stated one."""
    telling: bool
    """Whether there are classes enough for the scores to mean anything."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def check_preprocessing(
    teacher: FrozenTeacher, *, known: bool = True, images: int = IMAGES, seed: int = 0
) -> Plausibility:
    """Compares a teacher's mean and std with the usual ones.

    Args:
        teacher: whose mean and std are to be judged.
        known: whether anybody said them; or else the presets are compared with one another.
        images: how many to show in each preprocessing.
        seed: of the images.
    """
    spec = teacher.spec
    pixels = dataclasses.replace(
        spec, mean=(0.0,) * spec.channels, std=(1.0,) * spec.channels, colour="rgb"
    )
    random = generator(seed, "plausibility", device=teacher.device)
    drawn = structured(images, pixels, random)
    rows = []
    for name, (mean, std) in _candidates(spec, known).items():
        stated = known and (mean, std) == (spec.mean, spec.std)
        rows.append(_row(teacher, drawn, mean, std, name, stated))
    # Of equals the stated one stands first.
    rows.sort(key=lambda row: (-row.score, not row.stated))
    return Plausibility(
        images=images,
        rows=tuple(rows),
        warning=_warning(rows, spec.classes),
        telling=spec.classes >= FEWEST_CLASSES,
    )


def _candidates(
    spec: ImageSpec, known: bool
) -> dict[str, tuple[tuple[float, ...], tuple[float, ...]]]:
    """(mean, std) by name: every preset that fits the channels, and what was stated."""
    found = {}
    for name, preset in PRESETS.items():
        if len(preset.mean) in (1, spec.channels):
            times = spec.channels // len(preset.mean)
            found[name] = (preset.mean * times, preset.std * times)
    if known and (spec.mean, spec.std) not in found.values():
        found["as stated"] = (spec.mean, spec.std)
    return found


def _row(
    teacher: FrozenTeacher,
    pixels: torch.Tensor,
    mean: tuple[float, ...],
    std: tuple[float, ...],
    name: str,
    stated: bool,
) -> Row:
    column = (1, -1, 1, 1)
    images = pixels - torch.tensor(mean, device=pixels.device).view(column)
    images = images / torch.tensor(std, device=pixels.device).view(column)
    with torch.no_grad():
        logits = torch.cat([teacher(part) for part in images.split(BATCH)])
    if not torch.isfinite(logits).all():
        raise NumericsError(
            f"the teacher answers images in the preprocessing {name!r} with NaN or infinity; "
            "check its weights"
        )
    head = head_of(teacher.spec)
    probabilities = head.probabilities(logits)
    return Row(
        name=name,
        stated=stated,
        score=_information(head.probabilities(_levelled(logits, teacher.spec.head)), teacher.spec),
        information=_information(probabilities, teacher.spec),
        confidence=float(probabilities.amax(1).mean()),
        decisions=len(logits.argmax(1).unique()),
    )


def _levelled(logits: torch.Tensor, head: str) -> torch.Tensor:
    """Logits [N, K] of one spread; those of labels keep their zero, which is their boundary."""
    if head == "sigmoid":
        return logits * (SPREAD / logits.square().mean().sqrt().clamp_min(1e-6))
    spread = logits.std(1, correction=0, keepdim=True)
    return (logits - logits.mean(1, keepdim=True)) * (SPREAD / spread.clamp_min(1e-6))


def _information(probabilities: torch.Tensor, spec: ImageSpec) -> float:
    """H(mean of p) - mean of H(p) over images [N, K]; for labels the sum over them."""
    if spec.head == "sigmoid":
        probabilities = torch.stack([probabilities, 1 - probabilities], dim=2)
    found = float((_entropy(probabilities.mean(0)) - _entropy(probabilities).mean(0)).sum())
    return max(found, 0.0)  # it cannot be negative but for rounding


def _entropy(probabilities: torch.Tensor) -> torch.Tensor:
    return -torch.xlogy(probabilities, probabilities).sum(-1)


def _warning(rows: list[Row], classes: int) -> str | None:
    best = rows[0]
    used = next((row for row in rows if row.stated), best)
    if classes < FEWEST_CLASSES:
        return None
    if best.score > max(RATIO * used.score, NOTHING):
        return (
            f"it tells images apart better when they are prepared as {best.name} "
            f"({best.score:.2f} nats) than as is said of it ({used.score:.2f}); check its mean, "
            f"std and value range (--preset {best.name} would change them)"
        )
    if used.information < NOTHING:
        return (
            "its answers hardly depend on the image: the weights are untrained, or it expects "
            "something that none of the usual preprocessings gives; ask whoever made it"
        )
    return None
