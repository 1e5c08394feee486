"""How far a quantized model lies from the float model, on a few calibration images."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx

from cake_edge.spec import decisions
from exporters.quantize.dialect import Dialect
from exporters.runtimes.ort import open_inference_session, session_options

__all__ = ["Judge", "Score", "logits_of", "score_of"]

Images = npt.NDArray[np.float32]
Logits = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """Distance from the float model."""

    divergence: float
    """Mean over images of KL(softmax(float) || softmax(quantized)), in nats; of a sigmoid's labels
    the sum of each one's KL."""
    agreement: float
    """Share of decisions, in [0, 1], that are the same: on the class of an image, or on each of
    its labels."""


class Judge:
    """Scores quantized models against one float model on the same images."""

    def __init__(
        self,
        model: onnx.ModelProto,
        images: list[Images],
        dialect: Dialect,
        *,
        head: str,
        reference: npt.NDArray[np.float32] | None = None,
    ) -> None:
        """Runs the float model; `images` are batches [n, C, H, W], held in memory.

        Args:
            head: what logits mean, as in `ImageSpec.head`.
            reference: the float model's logits on `images`, where they are known already.
        """
        self._images, self._head = images, head
        # What runs elsewhere is computed in float here, its values rounded.
        self._fused = dialect.runtime == "ort" and not dialect.signed
        self._reference = (
            logits_of(model, lambda: images) if reference is None else reference.astype(np.float64)
        )

    def score(self, model: onnx.ModelProto) -> Score:
        """Returns the distance of a quantized model."""
        found = logits_of(model, lambda: self._images, fused=self._fused)
        return score_of(self._reference, found, self._head)


def score_of(reference: Logits, found: Logits, head: str) -> Score:
    """Returns the distance of logits [N, classes] from those of the float model."""
    normalised = _log_shares if head == "sigmoid" else _log_softmax
    wanted, given = normalised(reference), normalised(found)
    chosen, named = decisions(reference, head), decisions(found, head)
    return Score(
        divergence=float((np.exp(wanted) * (wanted - given)).sum(axis=1).mean()),
        agreement=float((chosen == named).mean()),
    )


def logits_of(
    model: onnx.ModelProto, batches: Callable[[], Iterable[Images]], *, fused: bool = True
) -> Logits:
    """Returns the logits [N, classes] of a model in memory.

    Args:
        fused: whether Q and DQ may become integer arithmetic, as at the target.
    """
    options = session_options()
    if not fused:
        # Without the other optimisations, too, large networks take several times as long; what
        # differs is the order of sums, which now and then tips a value to its other neighbour.
        options.add_session_config_entry("session.disable_quant_qdq", "1")
    session = open_inference_session(
        model.SerializeToString(), options, what="the model being quantized"
    )
    source = model.graph.input[0].name
    parts = [session.run(None, {source: images})[0] for images in batches()]
    logits: Logits = np.concatenate(parts).astype(np.float64)
    return logits


def _log_softmax(logits: Logits) -> Logits:
    shifted = logits - logits.max(axis=1, keepdims=True)
    normalised: Logits = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return normalised


def _log_shares(logits: Logits) -> Logits:
    """Logarithms of the probabilities of every label's yes and no, [N, 2 classes]."""
    doubled: Logits = -np.logaddexp(0.0, np.concatenate([-logits, logits], axis=1))
    return doubled
