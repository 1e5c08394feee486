"""What every rewrite is, and what is told of it afterwards."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import onnx

from exporters.quantize.rewrites.channels import ChannelRange

__all__ = ["Rewrite", "RewriteRecord"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rewrite:
    """One way to move scales about in a float model without changing what it computes."""

    name: str
    """As in `REWRITES`."""
    tensors: Callable[[onnx.ModelProto], dict[str, int]]
    """The tensors of a prepared model whose channel ranges it needs, each with its channel axis;
    none where it does not apply."""
    apply: Callable[[onnx.ModelProto, Mapping[str, ChannelRange]], tuple[onnx.ModelProto, int]]
    """Takes the model and those ranges; gives a new model and the number of places changed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RewriteRecord:
    """What one rewrite did to a model."""

    name: str
    """As in `REWRITES`."""
    places: int
    """Number of places changed; 0 where it does not apply."""
    difference: float
    """Largest change of a logit on the images, as a share of the largest logit."""
    kept: bool
    """Whether the model given back has it: there was a place, and the logits stayed."""
