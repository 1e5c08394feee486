"""Gram matrices E[x xT] of what the layers of a model multiply their weights with.

A convolution is a matrix product with the patches of its input (im2col); a few hundred places of
an image tell their second moments well enough, so that no patch matrix of a whole image is made.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from cake_edge.errors import NumericsError, PoolError
from exporters.runtimes.ort import open_inference_session, session_options

__all__ = ["Gram", "Patches", "gather_grams"]

Array = npt.NDArray[np.float64]
Images = npt.NDArray[np.float32]
Batches = Callable[[], Iterable[Images]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Patches:
    """How the vectors x of a layer are cut from the tensor it takes."""

    source: str
    """The tensor: [N, C, H, W] of a convolution, [..., inputs] of a matrix product."""
    groups: int = 1
    """Groups of a convolution; each has vectors of its own."""
    kernel: tuple[int, int] | None = None
    """Height and width of a convolution's kernel; None for a matrix product."""
    strides: tuple[int, ...] = (1, 1)
    """Down and across."""
    dilations: tuple[int, ...] = (1, 1)
    """Down and across."""
    pads: tuple[int, int, int, int] = (0, 0, 0, 0)
    """Zeros above, left, below, right."""

    def cut(self, values: Images, most: int, random: np.random.Generator) -> Images:
        """Returns vectors [groups, number, inputs of a group].

        Args:
            most: places taken of each image, or rows of a matrix for each first index; all where
                there are no more.
            random: chooses them.
        """
        if self.kernel is None:
            rows: Images = values.reshape(-1, values.shape[-1])
            return rows[_chosen(len(rows), most * len(values), random)][None]
        return self._cut_places(values, self.kernel, most, random)

    def _cut_places(
        self, values: Images, kernel: tuple[int, int], most: int, random: np.random.Generator
    ) -> Images:
        top, left, bottom, right = self.pads
        padded = np.pad(values, ((0, 0), (0, 0), (top, bottom), (left, right)))
        count, channels, height, width = padded.shape
        reach = [(size - 1) * step for size, step in zip(kernel, self.dilations, strict=True)]
        across = (width - reach[1] - 1) // self.strides[1] + 1
        total = ((height - reach[0] - 1) // self.strides[0] + 1) * across
        down, right_of = np.divmod(_chosen(total, most, random), across)
        corners = down * self.strides[0] * width + right_of * self.strides[1]
        offsets = (
            np.arange(kernel[0])[:, None] * self.dilations[0] * width
            + np.arange(kernel[1]) * self.dilations[1]
        ).ravel()
        # [N, C, places, offsets] → [groups, N * places, C of a group * offsets]
        taken = padded.reshape(count, channels, -1).take(corners[:, None] + offsets, axis=2)
        parted = taken.reshape(count, self.groups, -1, len(corners), len(offsets))
        vectors: Images = parted.transpose(1, 0, 3, 2, 4).reshape(
            self.groups, count * len(corners), channels // self.groups * len(offsets)
        )
        return vectors


def _chosen(total: int, most: int, random: np.random.Generator) -> npt.NDArray[np.intp]:
    if total <= most:
        return np.arange(total)
    return np.sort(random.choice(total, most, replace=False))


class Gram:
    """Sums over vectors; its size does not depend on how many it has seen."""

    def __init__(self) -> None:
        self._count = 0
        self._sum: Any = 0.0
        self._products: Any = 0.0

    def add(self, vectors: Images) -> None:
        """Takes in vectors [groups, number, inputs]."""
        self._count += vectors.shape[1]
        self._sum += vectors.sum(axis=1, dtype=np.float64)
        if len(vectors) == 1:  # A product with itself, which BLAS does in half the time.
            self._products += (vectors[0].T @ vectors[0])[None]
        else:
            self._products += vectors.transpose(0, 2, 1) @ vectors

    @property
    def mean(self) -> Array:
        """E[x], [groups, inputs]."""
        mean: Array = self._sum / self._count
        return mean

    def moments(self, *, centred: bool) -> Array:
        """E[x xT], or the covariance, [groups, inputs, inputs]."""
        moments: Array = self._products / self._count
        if centred:
            moments -= self.mean[:, :, None] * self.mean[:, None, :]
        return moments


def gather_grams(
    model: onnx.ModelProto, wanted: Sequence[Patches], batches: Batches, *, positions: int
) -> dict[Patches, Gram]:
    """Runs all batches once through the float model and sums up the vectors of `wanted`.

    Args:
        positions: most places of an image.

    Raises:
        NumericsError: a tensor holds a NaN or an infinity; its name is in the message.
        PoolError: there are no images.
    """
    sources = sorted({patches.source for patches in wanted})
    session, port = _opened(model, sources)
    grams = {patches: Gram() for patches in wanted}
    seen = 0
    for index, images in enumerate(batches()):
        seen += len(images)
        tensors = _run(session, port, sources, images)
        for patches, gram in grams.items():
            # The same places for equal batches, whatever else is gathered beside them.
            random = np.random.default_rng(index)
            gram.add(patches.cut(tensors[patches.source], positions, random))
    if not seen:
        raise PoolError("there are no images to reconstruct weights on; give a few dozen")
    for patches, gram in grams.items():
        if not np.isfinite(gram.moments(centred=False)).all():
            raise NumericsError(
                f"tensor {patches.source!r} holds a NaN or an infinity for the given images; check "
                "the images and the float model"
            )
    return grams


def _opened(model: onnx.ModelProto, sources: Sequence[str]) -> tuple[Any, str]:
    """A session whose outputs are `sources`, and the name of its input."""
    cut = copy.deepcopy(model)
    port = cut.graph.input[0].name
    outputs = [
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None)
        for name in sources
        if name != port
    ]
    if outputs:
        del cut.graph.output[:]
        cut.graph.output.extend(outputs)
    return open_inference_session(
        cut.SerializeToString(), session_options(), what="the float model"
    ), port


def _run(session: Any, port: str, sources: Sequence[str], images: Images) -> dict[str, Images]:
    inner = [name for name in sources if name != port]
    values = session.run(inner, {port: images}) if inner else []
    return {port: images, **dict(zip(inner, values, strict=True))}
