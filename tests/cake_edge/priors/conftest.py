from __future__ import annotations

from collections.abc import Callable

import pytest

from cake_edge.spec import ImageSpec


@pytest.fixture(scope="session")
def spec_of() -> Callable[..., ImageSpec]:
    """Makes the spec of a classifier whose normalised space is that of pixels."""

    def make(channels: int, height: int, width: int, colour: str = "rgb") -> ImageSpec:
        return ImageSpec(
            channels=channels, height=height, width=width,
            mean=(0.0,) * channels, std=(1.0,) * channels, classes=10, colour=colour,
        )  # fmt: skip

    return make
