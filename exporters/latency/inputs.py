"""What a model is shown while it is timed; its answers are thrown away.

The time of a convolution does not depend on what it sees, with exceptions worth a check: values so
small that they are denormal, and kernels that skip zeros. So there is a choice.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cake_edge.errors import ArtifactError, DatasetError, UsageMistake, near_names
from cake_edge.spec import ImageSpec
from exporters.latency.lane import Images
from exporters.runtimes.base import Session

__all__ = [
    "INPUTS",
    "Brought",
    "brought_images",
    "given_images",
    "input_size",
    "made_images",
    "repeated",
]

Brought = Callable[[int, ImageSpec | None], npt.NDArray[Any]]
"""Gives at most so many images for a model of that spec, as `given_images` takes them."""

INPUTS: dict[str, str] = {
    "random": "standard normal values",
    "zeros": "nothing but zeros",
    "pixels": "pixels drawn evenly from [0, 1], normalised as the model's card says",
}
"""Images that need no file, by name."""


def made_images(
    kind: str,
    input_size: Sequence[int],
    count: int,
    *,
    seed: int = 0,
    spec: ImageSpec | None = None,
) -> Images:
    """Returns images of a kind named in `INPUTS`, [count, *input_size].

    Args:
        input_size: (C, H, W).
        spec: the model's; only pixels need it.

    Raises:
        UsageMistake: no such kind, a count below 1, or pixels without a spec.
    """
    if kind not in INPUTS:
        raise UsageMistake(
            f"no input {kind!r}{near_names(kind, INPUTS)}; allowed: {', '.join(INPUTS)}"
        )
    if count < 1:
        raise UsageMistake(f"count is {count}; it must be at least 1")
    shape = (count, *input_size)
    if kind == "zeros":
        return np.zeros(shape, np.float32)
    random = np.random.default_rng(seed)
    if kind == "random":
        return random.standard_normal(shape, dtype=np.float32)
    if spec is None:
        raise UsageMistake(
            "pixels must be normalised as the model wants it, and the file does not say how: it "
            "has no cake_edge metadata; take random"
        )
    return spec.normalise(random.random(shape, dtype=np.float32))


def input_size(path: Path, session: Session) -> tuple[int, ...]:
    """(C, H, W) of an open model, as the file's card or else its graph tells it.

    Raises:
        ArtifactError: neither does.
    """
    if session.card is not None:
        return session.card.spec.input_size
    shape = tuple(getattr(session, "input_shape", ()))[1:]
    if len(shape) != 3 or not all(isinstance(size, int) for size in shape):
        raise ArtifactError(
            f"{path} does not fix the size of its input (channels, height, width are {shape}): "
            "export it with a fixed image size"
        )
    return shape


def given_images(
    array: npt.NDArray[Any], input_size: Sequence[int], *, spec: ImageSpec | None = None
) -> Images:
    """Checks an array that somebody brought, and makes it what the model takes.

    Args:
        array: float32 [N, C, H, W], taken as they are; or pixels uint8 [N, H, W] or [N, H, W, C],
            red, green, blue, to be normalised.
        input_size: (C, H, W) of the model.
        spec: the model's; only pixels need it.

    Returns:
        [N, C, H, W], in memory of its own.

    Raises:
        DatasetError: the array is of another type or size, is empty, or has no finite values.
        UsageMistake: pixels without a spec.
    """
    wanted = tuple(input_size)
    pixels = array.dtype == np.uint8
    if pixels and array.ndim == 3:
        array = array[..., None]
    if array.ndim != 4 or not (pixels or array.dtype == np.float32):
        raise DatasetError(
            f"images are {array.dtype} of shape {list(array.shape)}; give float32 [N, C, H, W] in "
            "the model's input space, or pixels uint8 [N, H, W] or [N, H, W, C]"
        )
    if pixels:
        array = array.transpose(0, 3, 1, 2)
    if array.shape[1:] != wanted or not len(array):
        raise DatasetError(
            f"{len(array)} images of {list(array.shape[1:])} (channels, height, width) were given, "
            f"and the model takes {list(wanted)}; give at least one of that size"
        )
    if not pixels:
        if not np.isfinite(array).all():
            raise DatasetError("images hold NaN or infinity; give finite values")
        return np.array(array, dtype=np.float32, order="C")
    if spec is None:
        raise UsageMistake(
            "pixels must be normalised as the model wants it, and the file does not say how: it "
            "has no cake_edge metadata; give float32 images in the model's input space"
        )
    if spec.colour == "bgr":
        array = array[:, ::-1]
    return np.ascontiguousarray(spec.normalise(array.astype(np.float32) / np.float32(255)))


def brought_images(
    brought: Brought, input_size: Sequence[int], count: int, *, spec: ImageSpec | None = None
) -> Images:
    """Returns images that somebody brought, [count, *input_size], some of them again if too few.

    Raises:
        As `given_images`, and what `brought` raises.
    """
    return repeated(given_images(brought(count, spec), input_size, spec=spec), count)


def repeated(images: Images, count: int) -> Images:
    """Returns the first `count` images, [count, C, H, W], from the start again where they end.

    Raises:
        UsageMistake: there are no images, or count is below 1.
    """
    if not len(images) or count < 1:
        raise UsageMistake(
            f"{count} of {len(images)} images were asked for; both must be 1 or more"
        )
    return np.take(images, range(count), axis=0, mode="wrap")
