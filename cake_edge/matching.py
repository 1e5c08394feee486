"""How often each image of a pool is shown, so that together they look to the teacher like its data.

A batch norm remembers the mean and the variance of every channel over the images that a network was
trained on. Synthetic images differ in them, some much more than others. Here each image is given
a weight: of all weightings under which the channels have those moments the one nearest to even
(an exponential tilt; Jaynes 1957, and entropy balancing, Hainmueller 2012). No image is moved and
none is made: what is in a pool already is shown more or less often. Where the pool cannot have
those moments, or only by showing very few images, they are met as far as a quarter of it allows.

Images that were pushed keep their share of the views: they are there to show where the teacher
decides, and few of them look like data.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from cake_edge.hooks import input_of, statistics_layers
from cake_edge.progress import Progress, silent
from cake_edge.seeding import generator
from cake_edge.stored_images import ImageSource
from cake_edge.teachers.frozen import FrozenTeacher

__all__ = ["Matching", "match_statistics"]

EFFECTIVE = 0.25
"""Least share of the images that the weights leave in effect (Kish): 1 / (N sum w^2)."""
FITTED_ON = 32_768
"""Images that the tilt is found on; all others are weighed by it. Bounds memory."""
FEATURES = 2_048
"""Most moments that are matched as they are; more are summed at random signs into as many."""
FLOOR = 1e-2
"""Least variance of a channel, of its layer's mean one: a dead channel says nothing."""
STRONGEST, HALVINGS = 8.0, 30
"""Penalties on the tilt, in mean squares of the moments: from one that leaves next to none of it,
half as much each time."""
NEAR = 1e-4
"""Of the distance, all images shown alike: what is as near has the moments."""
BATCH = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Matching:
    """How often each image is to be shown, and what that is good for."""

    weights: torch.Tensor
    """[N] in float64 on the CPU; they sum to 1."""
    distance_even: float
    """From the moments remembered to those of the images as drawn, all shown alike: per layer the
    mean square over channels of the shift in standard deviations plus that of the relative second
    moment, summed over the layers."""
    distance_matched: float
    """The same with the weights."""
    effective: float
    """Share of the images as drawn that is in effect, in (0, 1]."""

    def to_dict(self) -> dict[str, float]:
        """Plain values for the manifest; the weights follow from teacher and pool."""
        return {
            "distance_even": self.distance_even,
            "distance_matched": self.distance_matched,
            "effective": self.effective,
        }


def match_statistics(
    teacher: FrozenTeacher,
    images: ImageSource,
    drawn: torch.Tensor,
    *,
    seed: int,
    progress: Progress = silent,
) -> Matching | None:
    """Weighs images; None where the teacher remembers no statistics, or no image is as drawn.

    Costs one pass of the teacher over the images, and another where there are more than the tilt
    is found on; in memory 8 kB for each of those at most.

    Args:
        teacher: whose batch norms are matched: the one that has seen data, and no student of it.
        images: N of them.
        drawn: [N] bool, those that may be weighed; the others all have the weight 1 / N.
        seed: of which images the tilt is found on.
    """
    moments, which = _Moments(teacher, seed), drawn.cpu().nonzero().squeeze(1)
    count = len(which)
    if not moments.layers or not count:
        return None
    order = torch.randperm(count, generator=generator(seed, "matching", 0))
    with moments.watched():
        fitted = which[order[:FITTED_ON].sort().values]
        held = torch.cat(list(moments.of(images, fitted, progress)))
        if not held.shape[1]:
            return None
        tilt = _tilt(held)
        if count <= FITTED_ON:  # in their order already
            scores = (held @ tilt).double()
            even, matched = held.mean(0), scores.softmax(0).float() @ held
        else:
            scores, even, matched = _over_all(moments, images, which, tilt, progress)
    share = scores.cpu().softmax(0)
    weights = torch.full((len(drawn),), 1 / len(drawn), dtype=torch.float64)
    weights[which] = share * (count / len(drawn))
    return Matching(
        weights=weights,
        distance_even=float(even.square().sum()),
        distance_matched=float(matched.square().sum()),
        effective=_effective(share),
    )


def _over_all(
    moments: _Moments,
    images: ImageSource,
    which: torch.Tensor,
    tilt: torch.Tensor,
    progress: Progress,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Scores of the images, and the mean of their moments, even and weighed, in one pass."""
    scores: list[torch.Tensor] = []
    total = torch.zeros(len(tilt), dtype=torch.float64, device=tilt.device)
    weighed, mass, top = total.clone(), total.new_zeros(()), total.new_full((), -torch.inf)
    for part in moments.of(images, which, progress):
        score = part.double() @ tilt.double()
        higher = torch.maximum(top, score.max())
        fade, weight = (top - higher).exp(), (score - higher).exp()
        weighed = weighed * fade + weight @ part.double()
        mass, top = mass * fade + weight.sum(), higher
        total += part.double().sum(0)
        scores.append(score)
    return torch.cat(scores), total / len(which), weighed / mass


class _Moments:
    """What of each image is averaged: zero in the mean over data like the teacher's."""

    def __init__(self, teacher: FrozenTeacher, seed: int) -> None:
        self.teacher = teacher
        self.layers = {
            name: layer
            for name, layer in statistics_layers(teacher.network).items()
            if isinstance(getattr(layer, "running_mean", None), torch.Tensor)
        }
        self._seed = seed
        self._seen: dict[str, list[torch.Tensor]] = {}
        self._folding: tuple[torch.Tensor, torch.Tensor] | None = None

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Lets `of` see what enters the layers."""

        def hook_of(name: str) -> Any:
            def hook(layer: nn.Module, args: tuple[Any, ...], named: dict[str, Any]) -> None:
                found = _moments(layer, input_of(args, named))
                self._seen.setdefault(name, []).append(found)

            return hook

        handles = [
            layer.register_forward_pre_hook(hook_of(name), with_kwargs=True)
            for name, layer in self.layers.items()
        ]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def of(
        self, images: ImageSource, index: torch.Tensor, progress: Progress
    ) -> Iterator[torch.Tensor]:
        """Yields the moments [B, F] of the images that `index` names, batch by batch."""
        done = 0
        for part in index.split(BATCH):
            done += len(part)
            progress("match", done, len(index), "images weighed by the teacher's batch norms")
            with torch.no_grad():
                self._seen.clear()
                self.teacher(images.gather(part.to(self.teacher.device)))
                # A layer that is called twice remembers both.
                found = [torch.stack(calls).mean(0) for calls in self._seen.values()]
                yield self._folded(torch.cat(found, 1) if found else torch.zeros(len(part), 0))

    def _folded(self, moments: torch.Tensor) -> torch.Tensor:
        """Many columns as few, each a sum of some at random signs: inner products stay as large."""
        columns = moments.shape[1]
        if columns <= FEATURES:
            return moments
        if self._folding is None:
            random = generator(self._seed, "matching", 1)
            place = torch.randint(FEATURES, (columns,), generator=random)
            sign = torch.randint(2, (columns,), generator=random) * 2.0 - 1.0
            self._folding = place.to(moments.device), sign.to(moments.device)
        place, sign = self._folding
        folded = moments.new_zeros((len(moments), FEATURES))
        return folded.index_add_(1, place, moments * sign)


def _moments(layer: nn.Module, inputs: torch.Tensor) -> torch.Tensor:
    """Of inputs [N, C, ...]: the shift of each channel, and how far its second moment is from 1.

    In the layer's own standard deviations, [N, 2C]; each layer counts as much as any other.
    """
    mean, variance = layer.get_buffer("running_mean"), layer.get_buffer("running_var")
    deviation = variance.clamp_min(FLOOR * float(variance.mean())).sqrt().clamp_min(1e-12)
    flat = inputs.float().flatten(2) if inputs.ndim > 2 else inputs.float().unsqueeze(2)
    scaled = (flat - mean[:, None]) / deviation[:, None]
    share = (variance / deviation.square())[None]
    found = torch.cat([scaled.mean(2), scaled.square().mean(2) - share], 1)
    # An image whose activations overflow says nothing of the data, and must not undo the rest.
    return found.div_(math.sqrt(len(mean))).nan_to_num_(0.0, 0.0, 0.0)


def _tilt(moments: torch.Tensor) -> torch.Tensor:
    """The tilt [F] of moments [N, F] with the least penalty that leaves enough in effect."""
    best = tilt = moments.new_zeros(moments.shape[1])
    even = float(moments.mean(0).square().sum())
    strongest = STRONGEST * float(moments.square().sum(1).mean())
    for halving in range(HALVINGS):
        tilt = _minimised(moments, strongest / 2**halving, tilt)
        weights = (moments @ tilt).double().softmax(0)
        if not _effective(weights) >= EFFECTIVE:
            break
        best = tilt
        if float((weights.float() @ moments).square().sum()) < NEAR * even:
            break
    return best


def _minimised(moments: torch.Tensor, ridge: float, start: torch.Tensor) -> torch.Tensor:
    """Minimises the dual, log sum exp(moments @ tilt) + ridge / 2 |tilt|^2, which is convex."""
    tilt = start.clone().requires_grad_()
    search = torch.optim.LBFGS([tilt], max_iter=50, line_search_fn="strong_wolfe")

    def value() -> torch.Tensor:
        search.zero_grad()
        found = torch.logsumexp(moments @ tilt, 0) + ridge / 2 * tilt.square().sum()
        found.backward()
        return found

    search.step(value)
    return tilt.detach()


def _effective(weights: torch.Tensor) -> float:
    """Kish's effective share of weights that sum to 1."""
    return 1 / (float(weights.double().square().sum()) * len(weights))
