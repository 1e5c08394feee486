"""The rewrites by name."""

from __future__ import annotations

from exporters.quantize.rewrites.cross_layer import CROSS_LAYER
from exporters.quantize.rewrites.gated import GATED
from exporters.quantize.rewrites.interface import Rewrite
from exporters.quantize.rewrites.layer_norm import LAYER_NORM

__all__ = ["REWRITES"]

REWRITES: dict[str, Rewrite] = {
    "cross-layer": CROSS_LAYER,
    "gated": GATED,
    "layer-norm": LAYER_NORM,
}
