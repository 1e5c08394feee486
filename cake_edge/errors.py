"""The exceptions a caller may see.

    CakeEdgeError                exit 1  a stated reason, one sentence a person can act on
    ├── UsageMistake             exit 2  wrong usage: an option, a name, a recipe key
    ├── TeacherError             exit 1  the teacher cannot be read, or is not what was said of it
    ├── PoolError                exit 1  a pool is missing, damaged, or was made by another teacher
    ├── DatasetError             exit 1  evaluation data cannot be read, or does not fit the model
    ├── ArtifactError            exit 1  a model file is not what it should be
    ├── OutputExists             exit 1  the place to write to is taken
    ├── NumericsError            exit 1  a NaN, an infinity, a run that diverged
    ├── GateFailed               exit 1  a measured figure is outside what was asked for
    ├── DeviceUnavailable        exit 1  the device asked for is not there
    ├── RuntimeUnavailable       exit 1  an optional package or runtime is not installed
    └── OutOfSpace               exit 1  the disk is full

A message says what was given, what is allowed, and what to do. It is shown in one line, however
long and strange the text is that it cites of a damaged file.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

__all__ = [
    "ArtifactError",
    "CakeEdgeError",
    "DatasetError",
    "DeviceUnavailable",
    "GateFailed",
    "NumericsError",
    "OutOfSpace",
    "OutputExists",
    "PoolError",
    "RuntimeUnavailable",
    "TeacherError",
    "UsageMistake",
    "near_names",
]


LONGEST = 900
"""Characters of a message."""
KEPT_END = 300
"""Of those the last, where it says what to do."""


class CakeEdgeError(Exception):
    """Base of every error raised on purpose; catch this one to catch them all."""

    exit_code = 1

    def __str__(self) -> str:
        line = " ".join(super().__str__().splitlines())
        if not line.isprintable():
            # What a file brings must neither move a terminal's cursor nor change its colours.
            line = "".join(c if c.isprintable() else repr(c)[1:-1] for c in line)
        if len(line) <= LONGEST:
            return line
        return f"{line[: LONGEST - KEPT_END]} … {line[-KEPT_END:]}"


class UsageMistake(CakeEdgeError):
    """The request itself is wrong: an option, a name, a recipe key."""

    exit_code = 2


class TeacherError(CakeEdgeError):
    """The teacher cannot be read, or does not fit what was said of it."""


class PoolError(CakeEdgeError):
    """A pool is missing, damaged, or was made by another teacher."""


class DatasetError(CakeEdgeError):
    """Evaluation data cannot be read, or does not fit the model."""


class ArtifactError(CakeEdgeError):
    """A model file is not what it should be."""


class OutputExists(CakeEdgeError):
    """The place to write to is taken; nothing was changed."""


class NumericsError(CakeEdgeError):
    """A NaN, an infinity, or a run that diverged."""


class GateFailed(CakeEdgeError):
    """A measured figure is outside what was asked for."""


class DeviceUnavailable(CakeEdgeError):
    """The device asked for is not there."""


class RuntimeUnavailable(CakeEdgeError):
    """An optional package or runtime is not installed; the message says how to get it."""


class OutOfSpace(CakeEdgeError):
    """The disk is full; the unfinished file has been removed."""


def near_names(given: str, allowed: Iterable[str], most: int = 3) -> str:
    """Returns " (did you mean a, b?)" for names close to the one given, or an empty string."""
    close = get_close_matches(given, list(allowed), n=most, cutoff=0.5)
    return f" (did you mean {', '.join(close)}?)" if close else ""
