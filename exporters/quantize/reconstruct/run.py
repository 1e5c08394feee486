"""Reconstruction of a whole model: Gram matrices in portions, then layer by layer.

Inputs are those of the float model, so that all layers are measured in one run of the images and no
layer makes up for the errors of those before it.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper

from cake_edge.errors import UsageMistake
from exporters.quantize.reconstruct.config import BITS, ReconstructConfig, RoundingRecord
from exporters.quantize.reconstruct.grams import Gram, Patches, gather_grams
from exporters.quantize.reconstruct.layers import Layer, find_layers
from exporters.quantize.reconstruct.rounding import quadratic
from exporters.quantize.reconstruct.scales import round_least_error, round_nearest

__all__ = ["reconstruct"]

Array = npt.NDArray[np.float64]
Batches = Callable[[], Iterable[npt.NDArray[np.float32]]]
Constants = dict[str, onnx.TensorProto]

SUM_NOISE = 1e-5


def reconstruct(
    model: onnx.ModelProto,
    batches: Batches,
    *,
    bits: int = 8,
    nodes: Iterable[str] | None = None,
    config: ReconstructConfig | None = None,
) -> tuple[onnx.ModelProto, tuple[RoundingRecord, ...]]:
    """Returns the model with weights on an integer grid, rounded for least error of each layer.

    The weights stay float32. Rounding them to nearest, with one scale an output channel that maps
    the largest absolute weight to the largest integer (127 with 8 bits, 64 with 7, 31, 15, 7, 3
    below), gives the integers found here again.

    Where a layer has a bias of its own, the bias takes up the mean error of the output, E E[x] for
    the error E of the weights; what remains to be made small is the variance, so the Gram matrix is
    centred there. A later correction of the biases for the same rounding finds nothing to do.

    Args:
        model: as `exporters.quantize.graph.prepare` returns it; it is left as it is.
        batches: called once for every portion of the Gram matrices that memory allows; gives the
            same images each time, [N, C, H, W].
        bits: of a weight, 3 to 8.
        nodes: names of the nodes whose weights are rounded; None for all Conv, Gemm and MatMul with
            a constant weight.

    Returns:
        (the new model, a record of each node in the order of the graph).

    Raises:
        UsageMistake: `bits` or `nodes` is not what is allowed.
        NumericsError: a tensor holds a NaN or an infinity on these images.
        PoolError: there are no images.
    """
    if bits not in BITS:
        raise UsageMistake(f"bits is {bits}; allowed: {', '.join(map(str, BITS))}")
    settings = config or ReconstructConfig()
    layers = find_layers(model, nodes)
    rounded = copy.deepcopy(model)
    constants = {weight.name: weight for weight in rounded.graph.initializer}
    records: dict[Layer, RoundingRecord] = {}
    measurable = []
    for layer in layers:
        width = _width(layer, constants)
        reason = layer.obstacle or _too_large(layer, width, settings.memory)
        if reason is None:
            measurable.append((layer, layer.patches.groups * width**2 * 8))
        else:
            records[layer] = _fall_back(layer, constants, bits, reason)
    for portion in _portions(measurable, settings.memory):
        grams = gather_grams(
            model,
            list(dict.fromkeys(layer.patches for layer in portion)),
            batches,
            positions=settings.positions,
        )
        for layer in portion:
            gram = grams[layer.patches]
            records[layer] = _round(layer, constants, gram, bits, settings.damping)
    return rounded, tuple(records[layer] for layer in layers)


def _width(layer: Layer, constants: Constants) -> int:
    """Inputs of a group."""
    dims = constants[layer.weight].dims
    return int(dims[0]) if layer.transposed else int(np.prod(dims[1:]))


def _too_large(layer: Layer, width: int, memory: int) -> str | None:
    needed = layer.patches.groups * width**2 * 8
    if needed <= memory:
        return None
    return (
        f"the Gram matrix of its {width} inputs takes {needed >> 20} MB, more than the "
        f"{memory >> 20} MB allowed; rounded to nearest"
    )


def _portions(layers: Sequence[tuple[Layer, int]], memory: int) -> Iterator[list[Layer]]:
    """Layers one after another whose Gram matrices fit into memory together."""
    portion: list[Layer] = []
    held = 0
    counted: set[Patches] = set()
    for layer, size in layers:
        if layer.patches in counted:
            portion.append(layer)
            continue
        if portion and held + size > memory:
            yield portion
            portion, held = [], 0
            counted.clear()
        portion.append(layer)
        counted.add(layer.patches)
        held += size
    if portion:
        yield portion


def _round(
    layer: Layer, constants: Constants, gram: Gram, bits: int, damping: float
) -> RoundingRecord:
    stored = numpy_helper.to_array(constants[layer.weight])
    weights = layer.matrix(stored)
    moments = gram.moments(centred=layer.bias is not None)
    found, scales = round_least_error(weights, _damped(gram, moments, damping), bits)
    written = layer.stored(found * scales[:, :, None], stored.shape)
    errors = layer.matrix(written) - weights
    nearest, steps = round_nearest(weights, bits)
    _write(constants, layer.weight, written)
    if layer.bias is not None:
        shift = np.einsum("gok,gk->go", errors, gram.mean).ravel()
        bias = numpy_helper.to_array(constants[layer.bias])
        _write(constants, layer.bias, bias - shift.astype(np.float32))
    power = float(quadratic(weights, moments).sum())

    def share(errors: Array) -> float:
        return max(float(quadratic(errors, moments).sum()), 0.0) / power if power > 0 else 0.0

    return RoundingRecord(
        name=layer.name,
        op=layer.op,
        weights=stored.size,
        bits=bits,
        nearest=share(nearest * steps[:, :, None] - weights),
        found=share(errors),
        reconstructed=True,
        reason=None,
    )


def _damped(gram: Gram, moments: Array, damping: float) -> Array:
    """Positive definite; the identity for a group whose inputs are all zero."""
    width = moments.shape[1]
    spread = np.einsum("gii->g", moments) / width
    power = np.einsum("gii->g", gram.moments(centred=False)) / width
    # Of inputs that hardly move, centring leaves the noise of float32 sums, of either sign.
    added = np.maximum(damping * spread, SUM_NOISE * power)
    added[added <= 0] = 1.0
    damped: Array = moments + added[:, None, None] * np.eye(width)
    return damped


def _fall_back(layer: Layer, constants: Constants, bits: int, reason: str) -> RoundingRecord:
    stored = numpy_helper.to_array(constants[layer.weight])
    if not layer.shared:
        integers, scales = round_nearest(layer.matrix(stored), bits)
        _write(constants, layer.weight, layer.stored(integers * scales[:, :, None], stored.shape))
    return RoundingRecord(
        name=layer.name,
        op=layer.op,
        weights=stored.size,
        bits=bits,
        nearest=None,
        found=None,
        reconstructed=False,
        reason=reason,
    )


def _write(constants: Constants, name: str, values: npt.NDArray[np.float32]) -> None:
    constants[name].CopyFrom(numpy_helper.from_array(values, name))
