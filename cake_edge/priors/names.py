"""Priors by name: the procedural ones, and a user's own images as `folder:PATH`, `photo:PATH`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cake_edge.errors import UsageMistake, near_names
from cake_edge.priors.base import Prior
from cake_edge.priors.own_images import OWN, open_own

__all__ = ["Priors", "anchored", "declared", "placeless", "user_images"]


class Priors(dict[str, Prior]):
    """Procedural priors by name; asked for, the name of a user's own images is there too.

    The path in it is looked at when the prior is taken out, not when it is asked about: settings
    can be read where the images are not.
    """

    def __contains__(self, name: object) -> bool:
        return super().__contains__(name) or (isinstance(name, str) and _is_own(name))

    def __missing__(self, name: str) -> Prior:
        """Opens a user's own images.

        Raises:
            UsageMistake: there is no such prior; the message has the names that are near.
            DatasetError: what the name points at is not there, or holds no image.
        """
        self.check(name)
        own = open_own(name)
        assert own is not None
        return own

    def check(self, name: str) -> None:
        """Refuses what is no name of a prior, without looking at what it points to.

        Raises:
            UsageMistake: the message has the names that are near.
        """
        if name not in self:
            shown = [*sorted(self), *(f"{word}:PATH" for word in OWN)]
            near = near_names(name, self) or near_names(name.partition(":")[0], OWN)
            raise UsageMistake(f"prior is {name!r}{near}; allowed: {', '.join(shown)}")


def user_images(prior: str) -> dict[str, Any] | None:
    """Returns what a manifest declares of a prior: None for those that read no file.

    Returns:
        `path` (the last part of it), `count` and `sha256` (over names and bytes of all files).

    Raises:
        DatasetError: what the name points at is not there, or holds no image.
    """
    own = open_own(prior)
    return own.declaration() if own is not None else None


def declared(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Returns what a manifest says of a sampler's settings: `config`, and any `user_images`.

    Neither names a place on this machine: the same files elsewhere make the same pool.

    Raises:
        DatasetError: there are no such images.
    """
    config = dict(settings)
    own = user_images(config.get("prior", ""))
    if own is None:
        return {"config": config}
    config["prior"] = placeless(config["prior"])
    return {"config": config, "user_images": own}


def anchored(prior: str, folder: Path) -> str:
    """Returns the name of a prior with its path, if it has one, read from `folder`."""
    if not _is_own(prior):
        return prior
    word, _, place = prior.partition(":")
    return f"{word}:{folder / Path(place).expanduser()}" if place else prior


def placeless(prior: str) -> str:
    """Returns the name of a prior with the last part of its path alone: what a manifest says."""
    if not _is_own(prior):
        return prior
    word, _, place = prior.partition(":")
    return f"{word}:{Path(place).expanduser().resolve().name}"


def _is_own(name: str) -> bool:
    word, colon, _ = name.partition(":")
    return bool(colon) and word in OWN
