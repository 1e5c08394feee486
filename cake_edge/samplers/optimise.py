"""The shared loop that moves images downhill, what it starts from, and where it is aimed."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch.nn import functional

from cake_edge.errors import NumericsError

__all__ = [
    "balanced_selection",
    "descend",
    "draw_tuples",
    "near_classes",
    "surest_selection",
]

FIRST_DECAY, SECOND_DECAY, EPSILON = 0.9, 0.99, 1e-8


def descend(
    images: torch.Tensor,
    loss: Callable[[torch.Tensor], torch.Tensor],
    step_size: torch.Tensor,
    bounds: tuple[torch.Tensor, torch.Tensor],
    snapshots: tuple[int, ...],
) -> list[torch.Tensor]:
    """Moves images by Adam, each with a step size of its own, inside the box of valid pixels.

    Args:
        images: [N, C, H, W], left as they are.
        loss: images -> [N]; the sum is what goes downhill.
        step_size: broadcastable to the images: how far a pixel may move a step.
        bounds: the lowest and the highest value of a channel, [1, C, 1, 1].
        snapshots: rising step numbers; the images after each of them are returned.

    Raises:
        NumericsError: the loss is not finite.
    """
    kept = []
    current = images.detach().clone()
    first, second = torch.zeros_like(current), torch.zeros_like(current)
    for step in range(1, snapshots[-1] + 1):
        current.requires_grad_()
        value = loss(current).sum()
        (gradient,) = torch.autograd.grad(value, current)
        with torch.no_grad():
            first.lerp_(gradient, 1 - FIRST_DECAY)
            second.lerp_(gradient.square(), 1 - SECOND_DECAY)
            scale = (second / (1 - SECOND_DECAY**step)).sqrt_().add_(EPSILON)
            move = (first / scale).mul_(step_size / (1 - FIRST_DECAY**step))
            current = torch.clamp(current.detach() - move, *bounds)
        if step in snapshots:
            kept.append(current.clone())
    if not torch.isfinite(value):
        raise NumericsError(
            "the synthesis loss is NaN or infinite: the teacher overflows on the images it is "
            "pushed to; use a smaller step_size"
        )
    return kept


def draw_tuples(count: int, size: int, classes: int, random: torch.Generator) -> torch.Tensor:
    """Returns targets [count, size]: in every row `size` distinct classes in random order.

    As released: a random permutation of all classes, cut to the first `size`.
    """
    order = torch.rand((count, classes), generator=random, device=random.device).argsort(1)
    return order[:, :size].contiguous()


def balanced_selection(labels: torch.Tensor, keep: int) -> torch.Tensor:
    """Returns which `keep` of N images make the class histogram as even as they can, in order.

    An image's rank is the number of earlier images of its class; the lowest ranks are kept,
    earlier images first.

    Args:
        labels: [N] int64, the class the teacher sees in each image.
        keep: at most N.
    """
    by_class = torch.argsort(labels, stable=True)
    ordered = labels[by_class]
    position = torch.arange(len(labels), device=labels.device)
    starts = torch.searchsorted(ordered, ordered)
    rank = torch.empty_like(position)
    rank[by_class] = position - starts
    return torch.argsort(rank, stable=True)[:keep].sort().values


def surest_selection(
    logits: torch.Tensor, keep: int, random: torch.Generator, *, exclusive: bool
) -> torch.Tensor:
    """Returns which `keep` of N images the teacher is surest of, evenly over the classes it sees.

    The surest of every class come first, then the second of every class, and so on; of the last
    round, which fits in part only, sureness and chance take the classes in equal parts. Images that
    a teacher was trained on draw larger logits from it than others do, so what looks most like them
    is kept. Logits of a softmax are taken from their mean, as what is added to all of them means
    nothing.

    Args:
        logits: [N, K].
        keep: at most N.
        random: on the logits' device.
        exclusive: whether they are a softmax's; those of a sigmoid each stand for themselves.
    """
    highest, label = (logits - logits.mean(1, keepdim=True) if exclusive else logits).max(1)
    order = torch.argsort(highest, descending=True, stable=True)
    places = torch.argsort(label[order], stable=True)
    ordered, position = label[order[places]], torch.arange(len(label), device=label.device)
    rank = position - torch.searchsorted(ordered, ordered)
    unsure = places / max(1, len(places))
    chance = torch.rand(len(label), generator=random, device=label.device)
    first = torch.argsort(rank + (unsure + chance) / 2, stable=True)
    return order[places[first[:keep]]].sort().values


def near_classes(
    logits: torch.Tensor, temperature: float, random: torch.Generator, *, exclusive: bool
) -> torch.Tensor:
    """Draws for every image, [N], a class to push it to, as likely as the teacher holds it.

    Of a softmax any class but the first. Of a sigmoid a label that the teacher does not see: one
    that it sees already has its boundary behind it. Where it sees all of them, any but the surest.

    Args:
        logits: [N, K], K at least 2.
        temperature: divides the logits, or what a sigmoid makes of them on its logarithmic scale;
            the higher, the more even.
        random: on the logits' device.
        exclusive: whether they are a softmax's; those of a sigmoid each stand for themselves.
    """
    odds, passed = logits, torch.zeros_like(logits, dtype=torch.bool)
    passed.scatter_(1, logits.argmax(1, keepdim=True), value=True)
    if not exclusive:
        odds, seen = functional.logsigmoid(logits), logits > 0
        passed = torch.where(seen.all(1, keepdim=True), passed, seen)
    odds = (odds / temperature).masked_fill(passed, -torch.inf).softmax(1)
    return torch.multinomial(odds, 1, generator=random).squeeze(1)
