"""Rounds weights so that a layer's output moves least, not each weight by itself.

Rounding to the nearest integer is the best choice for a weight alone, and a poor one for the sum
that it is a part of: errors of correlated inputs add up or cancel. How much the output moves is a
quadratic form in the rounding error whose matrix, the Gram matrix of the layer's inputs, is
measured on images (Nagel et al., "Up or Down? Adaptive Rounding for Post-Training Quantization",
ICML 2020, sections 3 and 4). `grams` gathers the matrices, `rounding` looks for the integers,
`scales` for what one step of them is worth, and `run` does it for all layers of a model.
"""

from __future__ import annotations

from exporters.quantize.reconstruct.config import ReconstructConfig, RoundingRecord
from exporters.quantize.reconstruct.run import reconstruct

__all__ = ["ReconstructConfig", "RoundingRecord", "reconstruct"]
