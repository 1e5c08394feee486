"""Applies rewrites one after another, and keeps those that leave the logits as they were."""

from __future__ import annotations

import copy
from collections.abc import Iterable

import numpy as np
import onnx

from cake_edge.errors import UsageMistake, near_names
from exporters.quantize.rewrites.channels import Batches, observe_channels
from exporters.quantize.rewrites.interface import Rewrite, RewriteRecord
from exporters.quantize.rewrites.registry import REWRITES
from exporters.runtimes.ort import open_inference_session, session_options

__all__ = ["TOLERANCE", "rewrite"]

# A rounding of float32 and its like move the logits by about 1e-6 of the largest; a channel scaled
# on one side only, or a cap that was crossed, by a thousand times that.
TOLERANCE = 1e-4


def rewrite(
    model: onnx.ModelProto, names: Iterable[str], batches: Batches
) -> tuple[onnx.ModelProto, tuple[RewriteRecord, ...]]:
    """Rewrites a prepared float model so that it computes the same and quantizes better.

    The images run once to observe channels, and through the models before and after each rewrite
    that finds a place. One observation serves all: no two rewrites scale the same tensor, and all
    others keep their values.

    Args:
        model: what `exporters.quantize.graph.prepare` gives; it is left as it is.
        names: of `REWRITES`, in the order they are applied.
        batches: called several times; each time gives the same images, [N, C, H, W] float32.

    Returns:
        The new model, and a record of each rewrite. One that moves a logit by more than
        `TOLERANCE` of the largest is not in the model.

    Raises:
        UsageMistake: no such rewrite.
        NumericsError: a tensor holds a NaN or an infinity, or there are no images.
    """
    chosen = [_named(name) for name in dict.fromkeys(names)]
    axes = {name: axis for each in chosen for name, axis in each.tensors(model).items()}
    ranges = observe_channels(model, axes, batches) if axes else {}
    current = copy.deepcopy(model)
    records = []
    for each in chosen:
        candidate, places = each.apply(current, ranges)
        difference = _difference(current, candidate, batches) if places else 0.0
        kept = places > 0 and difference <= TOLERANCE
        records.append(
            RewriteRecord(name=each.name, places=places, difference=difference, kept=kept)
        )
        if kept:
            current = candidate
    return current, tuple(records)


def _named(name: str) -> Rewrite:
    if name not in REWRITES:
        raise UsageMistake(
            f"no rewrite {name!r}{near_names(name, REWRITES)}; "
            f"allowed: {', '.join(sorted(REWRITES))}"
        )
    return REWRITES[name]


def _difference(before: onnx.ModelProto, after: onnx.ModelProto, batches: Batches) -> float:
    """Largest change of a logit over the images, as a share of the largest logit before."""
    sessions = [
        open_inference_session(each.SerializeToString(), session_options(), what="the float model")
        for each in (before, after)
    ]
    source = before.graph.input[0].name
    largest = moved = 0.0
    for images in batches():
        wanted, given = (session.run(None, {source: images})[0] for session in sessions)
        largest = max(largest, float(np.abs(wanted).max()))
        moved = max(moved, float(np.abs(given - wanted).max()))
    return moved / largest if largest > 0 else moved
