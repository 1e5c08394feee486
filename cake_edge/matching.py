"""How often each image of a pool is shown, so that to the teacher they look like its data.

A batch norm remembers the mean and the variance of every channel over the images that a network was
trained on. Synthetic images differ in them, some much more than others. Here each image is given
a weight: of all weightings under which the channels have those moments the one nearest to even
(an exponential tilt; Jaynes 1957, and entropy balancing, Hainmueller 2012). No image is moved and
none is made: what is in a pool already is shown more or less often. Where the pool cannot have
those moments, or only by showing very few images, they are met as far as a quarter of it allows;
where that brings nothing, or next to nothing, all stay alike.

Images that were pushed keep their share of the views: they are there to show where the teacher
decides, and few of them look like data.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from cake_edge.moments import NormMoments
from cake_edge.progress import Progress, silent
from cake_edge.seeding import generator
from cake_edge.stored_images import ImageSource
from cake_edge.teachers.frozen import FrozenTeacher

__all__ = ["Matching", "match_statistics"]

EFFECTIVE = 0.25
"""Least share of the images that the weights leave in effect (Kish): 1 / (N sum w^2)."""
FITTED_ON = 32_768
"""Images that the tilt is found on; all others are weighed by it. Bounds memory."""
LEAST = 100
"""Images below which there is nothing to choose from."""
FURTHEST = 10.0
"""Length of an image's moments, of the median one, beyond which it counts no more."""
STRONGEST, HALVINGS = 8.0, 30
"""Penalties on the tilt, in mean squares of the moments: from one that leaves next to none of it,
half as much each time."""
NEAR = 1e-4
"""Of the distance, all images shown alike: what is as near has the moments."""
WORTHWHILE = 0.9
"""Of the distance, all images shown alike: what is not as near is not worth uneven weights."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Matching:
    """How often each image is to be shown, and what that is good for."""

    weights: torch.Tensor
    """[N] in float64 on the CPU; they sum to 1."""
    distance_even: float
    """From the moments remembered to those of the images as drawn, all shown alike: per layer the
    mean square over channels of the shift in standard deviations plus that of the relative second
    moment, summed over the layers. An image far out counts as one ten times as far as the median,
    and of more than 2 048 moments it is an estimate."""
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
    """Weighs images; None where that has no sense.

    That is where the teacher remembers no statistics, where fewer than a hundred images are as
    drawn, and where no weights bring them a tenth nearer.

    Costs one pass of the teacher over the images, and another where there are more than the tilt
    is found on; in memory 8 kB for each of those at most, and what the fitting needs beside.

    Args:
        teacher: whose batch norms are matched: the one that has seen data, and no student of it.
        images: N of them.
        drawn: [N] bool, those that may be weighed; the others all have the weight 1 / N.
        seed: of which images the tilt is found on.
    """
    moments, which = NormMoments(teacher, seed), drawn.cpu().nonzero().squeeze(1)
    count = len(which)
    if not moments.layers or count < LEAST:
        return None
    order = torch.randperm(count, generator=generator(seed, "matching", 0))
    fitted = which[order[:FITTED_ON].sort().values]
    held = _held(moments, images, fitted, progress)
    if not held.shape[1]:
        return None
    furthest = FURTHEST * float(held.norm(dim=1).median())
    tilt = _tilt(_within(held, furthest))
    if count <= FITTED_ON:  # in their order already
        scores = (held @ tilt).double()
        even, matched = held.mean(0), scores.softmax(0).float() @ held
    else:
        del held
        scores, even, matched = _over_all(moments, images, which, tilt, furthest, progress)
    distance_even, distance_matched = (float(m.square().sum()) for m in (even, matched))
    if not distance_matched <= WORTHWHILE * distance_even:
        return None
    share = scores.cpu().softmax(0)
    weights = torch.full((len(drawn),), 1 / len(drawn), dtype=torch.float64)
    weights[which] = share * (count / len(drawn))
    return Matching(
        weights=weights,
        distance_even=distance_even,
        distance_matched=distance_matched,
        effective=_effective(share),
    )


def _held(
    moments: NormMoments, images: ImageSource, index: torch.Tensor, progress: Progress
) -> torch.Tensor:
    """The moments [M, F] of the images that `index` names."""
    held, done = torch.zeros(0), 0
    for part in moments.of(images, index):
        if not done:
            held = part.new_empty((len(index), part.shape[1]))
        held[done : done + len(part)] = part
        done += len(part)
        progress("match", done, len(index), "images seen by the teacher's batch norms")
    return held


def _over_all(
    moments: NormMoments,
    images: ImageSource,
    which: torch.Tensor,
    tilt: torch.Tensor,
    furthest: float,
    progress: Progress,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Scores of the images, and the mean of their moments, even and weighed, in one pass."""
    scores: list[torch.Tensor] = []
    total = torch.zeros(len(tilt), dtype=torch.float64, device=tilt.device)
    weighed, mass, top = total.clone(), total.new_zeros(()), total.new_full((), -torch.inf)
    done = 0
    for found in moments.of(images, which):
        part = _within(found, furthest)
        score = part.double() @ tilt.double()
        higher = torch.maximum(top, score.max())
        fade, weight = (top - higher).exp(), (score - higher).exp()
        weighed = weighed * fade + weight @ part.double()
        mass, top = mass * fade + weight.sum(), higher
        total += part.double().sum(0)
        scores.append(score)
        done += len(part)
        progress("weigh", done, len(which), "images by the teacher's batch norms")
    return torch.cat(scores), total / len(which), weighed / mass


def _within(moments: torch.Tensor, furthest: float) -> torch.Tensor:
    """Moments [M, F], in place none longer than `furthest`: one image must not undo the rest."""
    length = moments.norm(dim=1, keepdim=True).clamp_min(1e-30)
    return moments.mul_((furthest / length).clamp_max(1.0))


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
    return min(1.0, 1 / (float(weights.double().square().sum()) * len(weights)))
