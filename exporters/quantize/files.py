"""What every way to quantize shares: the file that comes in, and the one that goes out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx

from cake_edge.errors import ArtifactError
from exporters.artifact import ModelCard, attach_card, card_from_metadata
from exporters.parity import ParityReport, compare
from exporters.quantize.config import QuantizeReport
from exporters.quantize.feed import Feed
from exporters.runtimes.ort import OrtSession

__all__ = ["account_of", "card_of", "check_ports", "parity_of", "serialised"]

UNACCOUNTED = ("path", "bytes", "speed", "verdict", "advice")
"""Of the report, what the file cannot say of itself: its place, its size, and what was timed."""


def card_of(model: onnx.ModelProto, path: Path) -> ModelCard:
    """Returns the card of a float model.

    Raises:
        ArtifactError: it has none, so nobody knows what it takes.
    """
    card = card_from_metadata({entry.key: entry.value for entry in model.metadata_props})
    if card is None:
        raise ArtifactError(
            f"{path} carries no cake_edge metadata, so its input is unknown; "
            "export it with `cake-edge export`"
        )
    return card


def check_ports(path: Path, card: ModelCard) -> None:
    """Refuses a graph that is no classifier, or is not the one that its card speaks of."""
    with OrtSession(path) as session:
        batch, *size = session.input_shape
    if isinstance(batch, int):
        raise ArtifactError(
            f"{path} takes batches of {batch} images only; export it with a dynamic batch"
        )
    if tuple(size) != card.spec.input_size:
        raise ArtifactError(
            f"{path} takes images of shape {size}, but its metadata says "
            f"{list(card.spec.input_size)}; export it again"
        )


def serialised(model: onnx.ModelProto, card: ModelCard) -> bytes:
    """Returns the bytes of a model with its card: equal inputs give equal bytes."""
    attach_card(model, card)
    data: bytes = model.SerializeToString(deterministic=True)
    return data


def parity_of(model: Path, written: Path, feed: Feed, *, fused: bool) -> ParityReport:
    """Compares a written file with its float model on the images kept apart.

    Args:
        fused: whether it runs as it would at its target, or in float with its values rounded.
    """
    with OrtSession(model) as before, OrtSession(written, optimise=fused) as after:
        pairs = [(before.infer(images), after.infer(images)) for images in feed.kept_apart()]
    wanted, given = (np.concatenate(side) for side in zip(*pairs, strict=True))
    return compare(wanted, given, head=feed.spec.head)


def account_of(report: QuantizeReport) -> dict[str, Any]:
    """Returns what the file's own card keeps of a report."""
    told = report.to_dict()
    for name in UNACCOUNTED:
        del told[name]
    return told
