"""How far a quantized model lies from the float model, on a few calibration images."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx

from exporters.quantize.dialect import Dialect
from exporters.runtimes.ort import open_inference_session, session_options

__all__ = ["Judge", "Score", "logits_of"]

Images = npt.NDArray[np.float32]
Logits = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """Distance from the float model."""

    divergence: float
    """Mean over images of KL(softmax(float) || softmax(quantized)), in nats."""
    agreement: float
    """Share of images, in [0, 1], on which both name the same class."""


class Judge:
    """Scores quantized models against one float model on the same images."""

    def __init__(
        self,
        model: onnx.ModelProto,
        images: list[Images],
        dialect: Dialect,
        *,
        reference: npt.NDArray[np.float32] | None = None,
    ) -> None:
        """Runs the float model; `images` are batches [n, C, H, W], held in memory.

        Args:
            reference: the float model's logits on `images`, where they are known already.
        """
        self._images = images
        # What runs elsewhere is computed in float here, its values rounded.
        self._fused = dialect.runtime == "ort" and not dialect.signed
        self._reference = (
            logits_of(model, lambda: images) if reference is None else reference.astype(np.float64)
        )

    def score(self, model: onnx.ModelProto) -> Score:
        """Returns the distance of a quantized model."""
        found = logits_of(model, lambda: self._images, fused=self._fused)
        wanted, given = _log_softmax(self._reference), _log_softmax(found)
        return Score(
            divergence=float((np.exp(wanted) * (wanted - given)).sum(axis=1).mean()),
            agreement=float((wanted.argmax(axis=1) == given.argmax(axis=1)).mean()),
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
